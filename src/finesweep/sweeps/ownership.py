"""Whose a study is: the sweep's that began it, and nobody else's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from finesweep.errors import ConfigError, Fault
from finesweep.system.sweep_folder import SweepFolder

if TYPE_CHECKING:
    from finesweep.sweeps.study import Study

SWEEP = "finesweep:sweep"  # the study's attribute: the sweep's id, drawn once


def claim(study: Study, folder: Path, sweep_id: str, *, is_old: bool) -> None:
    """Make sure that a study is this sweep's own, or make a new one so.

    Args:
        study: as the storage has it.
        folder: of the sweep.
        sweep_id: of its manifest.
        is_old: whether the folder was begun before sweeps had ids.

    Raises:
        ConfigError: another sweep, or another program, began the study; or it is empty and the folder isn't.
    """
    owner = study.optuna.user_attrs.get(SWEEP)
    if owner == sweep_id:
        return
    num_trials = len(study.trials())
    if owner is not None or (num_trials and not is_old):
        rule = (
            f"The storage has a study of this name, with {num_trials} trials, that this sweep didn't begin."
        )
        fix = "Give this one a name of its own: hydra.sweeper.study_name=... (or name=...)."
        raise ConfigError(Fault("hydra.sweeper.study_name", rule, study.name, fix=fix))
    if not num_trials and (kept := num_runs(folder)):
        rule = f"The study `{study.name}` is empty or new, and this folder holds {kept} trials of another."
        fix = "Bring back study.db, or the storage it was in; or start anew under another name=..."
        raise ConfigError(Fault(str(folder), rule, fix=fix))
    study.optuna.set_user_attr(SWEEP, sweep_id)


def num_runs(folder: Path) -> int:
    """Return how many trials a sweep's folder has runs of."""
    return sum(1 for _ in SweepFolder(folder).trials.glob("*/config.yaml"))
