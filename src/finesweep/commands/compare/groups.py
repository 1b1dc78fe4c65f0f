"""Runs that differ in nothing but their seed, as one row of a comparison."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finesweep.commands import listing
from finesweep.config.saved import CIRCUMSTANCES, read_config
from finesweep.errors import Fault, FinesweepError
from finesweep.runs.labels import read_labels
from finesweep.runs.layout import NO_FOLDER, RunFolder
from finesweep.runs.sealing import RECORDS, check_seal
from finesweep.runs.unchanged import recorded_fingerprints
from finesweep.system.console import three_digits
from finesweep.system.paths import relative_to_here
from finesweep.system.records import RESULT, DamagedFile, damaged, read_json
from finesweep.system.sweep_folder import SweepFolder
from finesweep.trackers.base import flattened

# What can't change a result, or is grouped over.
IGNORED = (*CIRCUMSTANCES, "seed", "objective")
ABSENT = "-"
# What a run stood on beside its config, and what the keys are called that say so.
STOOD_ON = ("data", "model")
FINGERPRINT = "fingerprint"


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
        fingerprints: of its data and its model's weights, as far as its provenance has them.
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
    fingerprints: dict[str, str] = field(default_factory=dict)


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

    @property
    def folders(self) -> list[RunFolder]:
        """Their folders."""
        return [run.folder for run in self.runs]

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
    runs, faults, left = [], [], 0
    for folder in map(RunFolder, folders):
        try:
            if folder.sound_state() == "complete":
                runs.append(read_run(folder))
            else:
                left += 1
        except DamagedFile as error:
            faults += error.faults
    notes = [f"{left} of {len(folders)} runs are not complete and were left out."] if left else []
    if not runs and faults:
        raise DamagedFile(*faults)
    notes += [f"Left out: {fault.where}: {fault.rule} {fault.fix}" for fault in faults]
    if not runs:
        rule = "There is no complete run to compare."
        raise FinesweepError(Fault(", ".join(map(str, paths)), rule, fix="finesweep ls shows what there is."))
    objectives = sorted({run.objective for run in runs})
    if len(objectives) > 1:
        rule = f"They have different objectives: {', '.join(objectives)}."
        raise FinesweepError(Fault(", ".join(map(str, paths)), rule, fix="Compare runs of one task."))
    return runs, notes


def group(runs: Iterable[Run]) -> list[Group]:
    """Put runs together that differ in their seed alone, the best group first.

    Runs of one config that had other data or another model stand apart, by their fingerprints. Where all
    runs had the same data, it doesn't matter which file they came from.
    """
    runs = list(runs)
    keys = dict.fromkeys(key for run in runs for key in run.config)
    data = {run.fingerprints.get("data", ABSENT) for run in runs}
    if len(data) == 1 and ABSENT not in data:
        keys = [key for key in keys if not key.startswith("data.source.")]
    differing = [key for key in keys if len({_exact(run.config.get(key, ABSENT)) for run in runs}) > 1]
    found: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        found.setdefault(tuple(_exact(run.config.get(key, ABSENT)) for key in differing), []).append(run)
    members = [(config, some) for of_config in found.values() for config, some in _by_fingerprint(of_config)]
    configs = [{key: some[0].config.get(key, ABSENT) for key in differing} | more for more, some in members]
    labels = _labels(configs, [some for _, some in members])
    groups = [
        Group(label, config, tuple(sorted(some, key=lambda run: (run.seed, str(run.folder.path)))))
        for label, config, (_, some) in zip(labels, configs, members, strict=True)
    ]
    sign = -1 if runs[0].maximizes else 1
    metric = f"validation/{runs[0].objective}"
    return sorted(groups, key=lambda one: sign * (one.mean(metric) or 0))


def _by_fingerprint(runs: Sequence[Run]) -> list[tuple[dict[str, str], list[Run]]]:
    """Part the runs of one config by what they stood on, where that differs; each part with what tells it."""
    names = [name for name in STOOD_ON if len({run.fingerprints.get(name) for run in runs}) > 1]
    parts: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        parts.setdefault(tuple(run.fingerprints.get(name, ABSENT)[:8] for name in names), []).append(run)
    keys = [f"{FINGERPRINT}.{name}" for name in names]
    return [(dict(zip(keys, prints, strict=True)), some) for prints, some in parts.items()]


def _folders(path: Path) -> list[Path]:
    if not path.is_dir():
        raise FinesweepError(Fault(str(path), NO_FOLDER, fix="finesweep ls shows what there is."))
    if RunFolder(path).config.is_file():
        return [path]
    found = listing.folders(path, trials=True)
    return sorted(folder for folder in found if not SweepFolder(folder).is_there)


def read_run(folder: RunFolder) -> Run:
    """Read a complete run."""
    check_seal(folder, RECORDS, by_size=("adapter",))
    config, result = read_config(folder.config), read_json(folder.result, RESULT)
    read_labels(folder)
    weights = [*folder.adapter.glob("*.safetensors")]
    if not weights:
        raise damaged(folder.adapter, "without weights", folder.path)
    return Run(
        folder=folder,
        config={k: v for k, v in flattened(config) if k.partition(".")[0] not in IGNORED},
        seed=config["seed"],
        objective=result["objective"]["metric"],
        maximizes=result["objective"]["direction"] == "maximize",
        metrics=result["metrics"],
        trainable=result["parameters"]["trainable"],
        bytes=sum(file.stat().st_size for file in weights),
        seconds=result["timings"]["train_s"],
        fingerprints=_fingerprints(folder),
    )


def _fingerprints(folder: RunFolder) -> dict[str, str]:
    recorded = recorded_fingerprints(folder)
    found = {"data": recorded.get("data"), "model": (recorded.get("model") or {}).get("weights")}
    return {name: value for name, value in found.items() if value}


def _labels(configs: Sequence[dict[str, Any]], members: Sequence[Sequence[Run]]) -> list[str]:
    """Name each group in short, or in full where two would be called the same."""
    short = [_label(config, runs, three_digits) for config, runs in zip(configs, members, strict=True)]
    full = [_label(config, runs, str) for config, runs in zip(configs, members, strict=True)]
    return [one if short.count(one) == 1 else other for one, other in zip(short, full, strict=True)]


def _label(config: dict[str, Any], runs: Sequence[Run], word: Callable[[Any], str]) -> str:
    """Name a group by the last part of each key, or by its folder where nothing differs."""
    if not config:
        return str(relative_to_here(runs[0].folder.path))
    return " ".join(
        f"{key.rpartition('.')[2]}={word(value)}" for key, value in config.items() if value != ABSENT
    )


def _exact(value: Any) -> str:
    """Return what two values have in common that are the same: 0 and 0.0, but no rates that look alike."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return json.dumps(float(value) if is_number else value, default=str)
