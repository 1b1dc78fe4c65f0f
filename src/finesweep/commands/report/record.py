"""A sweep's folder and study, read into plain values."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep.commands.report.budget import Budget, budget_of, importances_of
from finesweep.commands.report.trial import TrialRecord
from finesweep.config.authorship import with_own
from finesweep.config.trust import JOURNAL, strangers
from finesweep.errors import ConfigError, Fault, FinesweepError
from finesweep.runs.layout import NO_FOLDER, RunFolder
from finesweep.runs.leaderboard import final_folder
from finesweep.runs.outcome import HALF_WIDTHS
from finesweep.runs.yardsticks import Yardsticks, yardsticks
from finesweep.sweeps import manifest
from finesweep.sweeps.attributes import ERROR
from finesweep.sweeps.holders import LEASE
from finesweep.sweeps.outline import FINALIST
from finesweep.sweeps.results import origin, ranked_trials, trial_result
from finesweep.sweeps.storage import open_storage, quiet_optuna
from finesweep.sweeps.verdict import Verdict, verdict_of
from finesweep.system.paths import relative_to_here
from finesweep.system.records import CONFIRMATION, RESULT, damaged, read_json
from finesweep.system.redaction import masked_keys
from finesweep.system.sweep_folder import SweepFolder

if TYPE_CHECKING:
    from optuna.study import Study as OptunaStudy
    from optuna.trial import FrozenTrial

STATES = ("complete", "pruned", "fail", "running", "waiting")


@dataclass(frozen=True)
class SweepRecord:
    """One sweep.

    Args:
        name: the study's.
        folder: its place.
        state: as in status.json.
        objectives: their names.
        directions: minimize or maximize for each.
        overrides: the command line.
        space: each axis and what it may be, in words.
        default: the config as it stood, as a point of the space; empty when it lay outside.
        n_trials: how many were asked for.
        trials: by number.
        order: numbers of the complete trials, best first; of the Pareto front first with several objectives.
        front: numbers of the Pareto front; empty with one objective.
        importances: share of the objective's variation that each parameter explains.
        why_no_importances: where there are none.
        provenance: of the best trial's run.
        confirmed: what `finesweep confirm` found.
        verdict: how the winner stands to the config as it stood and to the others; None without one winner.
        yardsticks: the winner's baseline and probe; None without one winner.
    """

    name: str
    folder: Path
    state: str
    objectives: tuple[str, ...]
    directions: tuple[str, ...]
    overrides: tuple[str, ...]
    space: dict[str, str]
    default: dict[str, Any]
    n_trials: int
    trials: tuple[TrialRecord, ...]
    order: tuple[int, ...]
    front: tuple[int, ...] = ()
    importances: dict[str, float] = field(default_factory=dict)
    why_no_importances: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)
    confirmed: dict[str, Any] | None = None
    verdict: Verdict | None = None
    yardsticks: Yardsticks | None = None

    @property
    def best(self) -> TrialRecord | None:
        """The best complete trial; the first of the Pareto front with several objectives."""
        return self.trials[self.order[0]] if self.order else None

    @property
    def budget(self) -> Budget:
        """What its trials are compared on."""
        return budget_of(self.trials)

    @property
    def confirmation(self) -> dict[str, Any] | None:
        """What confirmed the best trial; None where nothing did, or another was confirmed that won before."""
        found = self.confirmed
        is_its = found and self.best and found["candidates"][0]["name"] == f"trial {self.best.number}"
        return found if is_its else None

    @property
    def counts(self) -> dict[str, int]:
        """Number of trials by state."""
        found = Counter(trial.state for trial in self.trials)
        return {state: found[state] for state in STATES if found[state]}

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the parameters that some trial has."""
        return tuple(dict.fromkeys(name for trial in self.trials for name in trial.params))

    @property
    def maximizes(self) -> bool:
        """Whether more of the first objective is better."""
        return self.directions[0] == "maximize"

    @property
    def shown_folder(self) -> str:
        """The folder as one types it here."""
        return str(relative_to_here(self.folder.absolute()))


def read_sweep(
    path: Path, trusted: Collection[str] = (), storage: Any = None, verdict: Verdict | None = None
) -> SweepRecord:
    """Read a sweep, finished or not; nothing is changed.

    Args:
        path: its folder.
        trusted: targets of its storage that the user vouches for.
        storage: where its study is; as the manifest says when None, which may have been masked there.
        verdict: on its winner, if that is known.

    Raises:
        FinesweepError: no sweep folder, or a study that can't be opened.
    """
    content = read_manifest(path)
    settings = content["settings"]
    settings["storage"] = settings["storage"] if storage is None else storage
    study = open_study(path, content, trusted)
    found = study.get_trials(deepcopy=False)
    order = tuple(trial.number for trial in ranked_trials(study))
    several = len(study.directions) > 1
    trials = tuple(_record(path, trial, _first_start(found)) for trial in found)
    why = "There are several objectives."
    importances, why = ({}, why) if several else importances_of(budget_of(trials), found)
    confirmed = SweepFolder(path).confirmation
    return SweepRecord(
        name=content["study_name"],
        folder=path,
        state=RunFolder(path).state(),
        objectives=_objective_names(path, settings, order),
        directions=tuple(direction.name.lower() for direction in study.directions),
        overrides=tuple(word for word in map(str, content["overrides"]) if word != "hydra.mode=MULTIRUN"),
        space=content["space"],
        default=content.get("default", {}),
        n_trials=settings["n_trials"],
        trials=trials,
        order=order,
        front=tuple(sorted(trial.number for trial in study.best_trials)) if several else (),
        importances=importances,
        why_no_importances=why,
        provenance=_provenance(path, order),
        confirmed=read_json(confirmed, CONFIRMATION) if confirmed.is_file() else None,
        verdict=verdict or verdict_of(SweepFolder(path), study, content.get("default")),
        yardsticks=_yardsticks(path, order) if not several else None,
    )


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a sweep's manifest.

    Raises:
        FinesweepError: no sweep folder.
    """
    content = manifest.read(path)
    if content is None:
        rule = "A sweep's folder holds a sweep.yaml; this one doesn't." if path.is_dir() else NO_FOLDER
        fix = "Sweeps are under outputs/sweeps/; finesweep ls lists them."
        raise FinesweepError(Fault(str(path), rule, fix=fix))
    return content


def open_study(path: Path, content: dict[str, Any], trusted: Collection[str] = ()) -> OptunaStudy:
    """Open the study of a sweep's manifest.

    Args:
        path: the sweep's folder.
        content: its manifest.
        trusted: targets of its storage that the user vouches for.

    Raises:
        FinesweepError: it isn't there, or its storage is one that a stranger may have chosen.
    """
    import optuna
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import DatabaseError

    quiet_optuna()
    sweep, storage = SweepFolder(path), content["settings"]["storage"]
    if any(masked_keys({"storage": storage})):
        rule = "hydra.sweeper.storage was masked when this sweep was saved, since it holds a secret."
        fix = "Write settings.storage into this file as an interpolation, ${oc.env:NAME}, and set NAME."
        raise FinesweepError(Fault(str(sweep.manifest), rule, fix=fix))
    file = {None: sweep.study, JOURNAL: sweep.journal}.get(storage) if not isinstance(storage, dict) else None
    if file and not file.is_file():
        raise FinesweepError(Fault(str(path), f"Its {file.name} is gone, or no trial has started yet."))
    if storage is None and not sweep.study.stat().st_size:
        raise damaged(sweep.study, "empty")
    try:
        with strangers(with_own(trusted, sweep.manifest)):
            opened = open_storage(storage, path)
        study = optuna.load_study(study_name=content["study_name"], storage=opened)
        study.get_trials(deepcopy=False)  # a damaged file may open
        return study
    except KeyError as error:
        rule = "The storage has no such study."
        raise FinesweepError(Fault(str(path), rule, content["study_name"])) from error
    except (ConfigError, StorageInternalError, DatabaseError, RuntimeError, AssertionError) as error:
        if storage is not None:
            raise
        if not os.access(path, os.W_OK):
            rule = "This folder can't be written, and SQLite needs to beside study.db."
            fix = "Copy it to a place of your own, and name that."
            raise FinesweepError(Fault(str(path), rule, fix=fix)) from error
        raise damaged(sweep.study, "damaged: it can't be read") from error


def _objective_names(path: Path, settings: dict[str, Any], order: tuple[int, ...]) -> tuple[str, ...]:
    if settings["objectives"]:
        return tuple(settings["objectives"])
    results = (RunFolder(SweepFolder(path).trial(number)).result for number in order)
    found = next((read_json(file, RESULT)["objective"]["metric"] for file in results if file.is_file()), None)
    return (found or "objective",)


def _record(path: Path, trial: FrozenTrial, first: datetime | None) -> TrialRecord:
    own, final = SweepFolder(path).trial(trial.number), final_folder(SweepFolder(path), trial.number)
    result, again = trial_result(own), trial_result(final) if final != own else {}
    attributes, start = trial.user_attrs, trial.datetime_start
    ended = trial.datetime_complete or datetime.now()
    lease = trial.system_attrs.get(LEASE) or {}
    steps = attributes.get("evaluated_steps") or sorted(trial.intermediate_values)
    reported = [trial.intermediate_values[step] for step in sorted(trial.intermediate_values)]
    return TrialRecord(
        number=trial.number,
        state=trial.state.name.lower(),
        values=tuple(trial.values or ()),
        params=dict(trial.params),
        curve=tuple(zip(steps, reported, strict=False)),
        start=(start - first).total_seconds() if start and first else None,
        seconds=attributes.get("duration_s") or ((ended - start).total_seconds() if start else 0.0),
        worker=f"{lease['host']} {lease['pid']}" if lease else "",
        trainable=attributes.get("trainable_parameters") or result.get("parameters", {}).get("trainable"),
        metrics={**result.get("metrics", {}), **_tested(again)},
        error=str(attributes.get(ERROR, "")),
        half_width=_half_width(result),
        origin=origin(trial),
        repeats=attributes.get(FINALIST),
        alone=again.get("objective", {}).get("value"),
        prediction=(again or result).get("prediction") or {},
    )


def _tested(result: dict[str, Any]) -> dict[str, float]:
    """Return what a run reached on the test split."""
    return {name: value for name, value in result.get("metrics", {}).items() if name.startswith("test/")}


def _half_width(result: dict[str, Any]) -> float | None:
    metric = result.get("objective", {}).get("metric")
    return result.get(HALF_WIDTHS, {}).get(f"validation/{metric}")


def _first_start(trials: list[FrozenTrial]) -> datetime | None:
    return min((trial.datetime_start for trial in trials if trial.datetime_start), default=None)


def _yardsticks(path: Path, order: tuple[int, ...]) -> Yardsticks | None:
    return yardsticks(trial_result(final_folder(SweepFolder(path), order[0]))) if order else None


def _provenance(path: Path, order: tuple[int, ...]) -> dict[str, Any]:
    file = RunFolder(SweepFolder(path).trial(order[0])).provenance if order else None
    return read_json(file) if file and file.is_file() else {}
