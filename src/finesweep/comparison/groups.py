"""Runs that differ in nothing but their seed, as one row of a comparison."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finesweep import outputs
from finesweep.data.labels import LabelSchema
from finesweep.errors import Fault, FinesweepError
from finesweep.rundir import NO_FOLDER, RunFolder, read_config, read_json, relative_to_here
from finesweep.sweep.manifest import MANIFEST

# What can't change a result, or is grouped over.
IGNORED = ("output_dir", "name", "threads", "resume", "test", "seed", "tracker", "objective")
ABSENT = "-"


@dataclass(frozen=True)
class Run:
    """A complete run, as its folder has it.

    Args:
        folder: its folder.
        config: flattened: dotted key to value; what is in IGNORED left out.
        seed: its seed.
        objective: the metric that counts.
        maximizes: whether more of it is better.
        metrics: final metrics by name.
        trainable: number of trained parameters.
        bytes: size of the saved adapter or model.
        seconds: that training took.
    """

    folder: RunFolder
    config: dict[str, Any]
    seed: int
    objective: str
    maximizes: bool
    metrics: dict[str, float]
    trainable: int
    bytes: int
    seconds: float

    @property
    def schema(self) -> LabelSchema:
        """Its labels."""
        labels = read_json(self.folder.labels)
        labels.pop("thresholds", None)
        return LabelSchema(**{**labels, "names": tuple(labels["names"]), "values": tuple(labels["values"])})


@dataclass(frozen=True)
class Group:
    """Runs of one config with different seeds.

    Args:
        label: names it: what distinguishes its config.
        config: the keys in which the groups differ.
        runs: by seed.
    """

    label: str
    config: dict[str, Any]
    runs: tuple[Run, ...]

    def values(self, metric: str) -> list[float]:
        """Return a metric of each run; of those that have it."""
        return [run.metrics[metric] for run in self.runs if metric in run.metrics]

    def mean(self, metric: str) -> float | None:
        """Return the mean over the seeds; None where a run lacks it."""
        found = self.values(metric)
        return statistics.fmean(found) if len(found) == len(self.runs) else None

    def deviation(self, metric: str) -> float | None:
        """Return the standard deviation over the seeds; None of fewer than two."""
        found = self.values(metric)
        return statistics.stdev(found) if len(found) > 1 else None


def read_runs(paths: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """Read the complete runs under some folders, each once, and note what was left out.

    Args:
        paths: run folders, sweep folders, or folders of them.

    Raises:
        FinesweepError: no such folder, nothing complete in any of them, or runs of different objectives.
    """
    folders = list(dict.fromkeys(folder.resolve() for path in paths for folder in _folders(path)))
    complete = [folder for folder in folders if _state(folder) == "complete"]
    left = len(folders) - len(complete)
    notes = [f"{left} of {len(folders)} runs are not complete and were left out."] if left else []
    runs = [read_run(RunFolder(folder)) for folder in complete]
    if not runs:
        rule = "There is no complete run to compare."
        raise FinesweepError(Fault(", ".join(map(str, paths)), rule, fix="finesweep ls shows what there is."))
    objectives = sorted({run.objective for run in runs})
    if len(objectives) > 1:
        rule = f"They have different objectives: {', '.join(objectives)}."
        raise FinesweepError(Fault(", ".join(map(str, paths)), rule, fix="Compare runs of one task."))
    return runs, notes


def group(runs: Iterable[Run]) -> list[Group]:
    """Put runs together that differ in their seed alone, the best group first."""
    runs = list(runs)
    keys = list(dict.fromkeys(key for run in runs for key in run.config))
    differing = [key for key in keys if len({_word(run.config.get(key, ABSENT)) for run in runs}) > 1]
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(
            json.dumps([run.config.get(key, ABSENT) for key in differing], default=str), []
        ).append(run)
    groups = []
    for members in found.values():
        config = {key: members[0].config.get(key, ABSENT) for key in differing}
        members.sort(key=lambda run: (run.seed, str(run.folder.path)))
        groups.append(Group(_label(config, members), config, tuple(members)))
    sign = -1 if runs[0].maximizes else 1
    metric = f"validation/{runs[0].objective}"
    return sorted(groups, key=lambda one: sign * (one.mean(metric) or 0))


def _folders(path: Path) -> list[Path]:
    if not path.is_dir():
        raise FinesweepError(Fault(str(path), NO_FOLDER, fix="finesweep ls shows what there is."))
    if RunFolder(path).config.is_file():
        return [path]
    found = outputs.folders(path, trials=True)
    return sorted(folder for folder in found if not (folder / MANIFEST).is_file())


def _state(folder: Path) -> str:
    run = RunFolder(folder)
    return run.state() if run.result.is_file() else "unknown"


def read_run(folder: RunFolder) -> Run:
    """Read a complete run."""
    config, result = read_config(folder.config), read_json(folder.result)
    weights = folder.adapter.glob("*.safetensors")
    return Run(
        folder=folder,
        config={k: v for k, v in _flat(config).items() if k.partition(".")[0] not in IGNORED},
        seed=config["seed"],
        objective=result["objective"]["metric"],
        maximizes=result["objective"]["direction"] == "maximize",
        metrics=result["metrics"],
        trainable=result["parameters"]["trainable"],
        bytes=sum(file.stat().st_size for file in weights),
        seconds=result["timings"]["train_s"],
    )


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(node, dict) and node:
        return {k: v for key, part in node.items() for k, v in _flat(part, f"{prefix}{key}.").items()}
    return {prefix.removesuffix("."): node}


def _label(config: dict[str, Any], runs: Sequence[Run]) -> str:
    """Name a group by the last part of each key, or by its folder where nothing differs."""
    if not config:
        return str(relative_to_here(runs[0].folder.path))
    return " ".join(
        f"{key.rpartition('.')[2]}={_word(value)}" for key, value in config.items() if value != ABSENT
    )


def _word(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
