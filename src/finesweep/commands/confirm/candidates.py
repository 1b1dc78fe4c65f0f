"""Who is retrained: a sweep's best configurations, and the config that nobody tuned."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from finesweep.commands.report.record import open_study, read_manifest
from finesweep.config.saved import CIRCUMSTANCES, read_config
from finesweep.errors import Fault, FinesweepError
from finesweep.runs.anchoring import anchored_saved
from finesweep.runs.layout import RunFolder
from finesweep.sweeps.results import LUCK, SEED, configurations, ranked_trials, seed_of
from finesweep.system.sweep_folder import SweepFolder

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

DEFAULT = "default"
# What is luck, or the confirmation's own to choose; not a part of a configuration.
OWN_KEYS = (SEED, *CIRCUMSTANCES)


@dataclass(frozen=True)
class Candidate:
    """A configuration to retrain.

    Args:
        choice: `trial-3`, or `default`.
        params: what the sweep found for it.
        claimed: the objective that it had in the sweep; None where it had no complete trial.
        config: complete.
    """

    choice: str
    params: dict[str, Any]
    claimed: float | None
    config: dict[str, Any]

    @property
    def label(self) -> str:
        """Its name in a sentence."""
        return self.choice.replace("-", " ") if self.choice != DEFAULT else "the default"


@dataclass(frozen=True)
class Field:
    """Who takes part.

    Args:
        study_name: the sweep's.
        candidates: the winner first, the default among the others or last.
        seeds: those of the sweep's own runs, which are not fresh.
        overrides: the sweep's command line.
        base: the sweep's own config.
        seconds: that a trial of the sweep took.
    """

    study_name: str
    candidates: tuple[Candidate, ...]
    seeds: frozenset[int]
    overrides: tuple[str, ...]
    base: dict[str, Any]
    seconds: float


def read_field(path: Path, top: int, trusted: Collection[str] = ()) -> Field:
    """Choose a sweep's `top` best configurations and its base config.

    Trials that differ in seed or fold alone are one configuration, whose objective is their mean.

    Raises:
        FinesweepError: no sweep, one without a complete trial, or one with several objectives.
    """
    content = read_manifest(path)
    study = open_study(path, content, trusted)
    if len(study.directions) > 1:
        rule = "It has several objectives: none of its trials is the winner."
        raise FinesweepError(Fault(str(path), rule, fix=f"finesweep compare {path} has them side by side."))
    complete = ranked_trials(study)
    if not complete:
        fix = f"finesweep resume {path} goes on with it."
        raise FinesweepError(Fault(str(path), "This sweep has no complete trial yet.", fix=fix))
    best = [_candidate(path, trials) for trials in configurations(complete)[:top]]
    base = _with_paths(content["config"], path)
    default = Candidate(DEFAULT, {}, None, base)
    is_among = any(_same(one.config, base) for one in best)
    return Field(
        study_name=content["study_name"],
        candidates=tuple(best if is_among else [*best, default]),
        seeds=frozenset([base[SEED], *(seed for trial in complete if (seed := seed_of(trial)) is not None)]),
        overrides=tuple(map(str, content["overrides"])),
        base=base,
        seconds=statistics.fmean(trial.user_attrs.get("duration_s", 0.0) for trial in complete),
    )


def _mean(trials: Sequence[FrozenTrial]) -> float:
    return statistics.fmean(trial.values[0] for trial in trials)


def _candidate(path: Path, trials: Sequence[FrozenTrial]) -> Candidate:
    first = trials[0]
    folder = RunFolder(SweepFolder(path).trial(first.number))
    if not folder.config.is_file():
        rule = "A trial's config.yaml is gone, or the job was not finesweep's own."
        raise FinesweepError(Fault(str(folder.path), rule))
    params = {key: value for key, value in first.params.items() if key not in LUCK}
    config = _with_paths(read_config(folder.config), folder.path)
    return Candidate(f"trial-{first.number}", params, _mean(trials), config)


def _with_paths(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a saved config whose paths are those that its run or sweep had."""
    content: Any = OmegaConf.to_container(anchored_saved(OmegaConf.create(config), folder))
    return content


def _same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether two configs are one configuration."""
    return _own(first) == _own(second)


def _own(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in OWN_KEYS}
