"""The folder of a sweep, in which several calls may begin at the same moment: one of them opens it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from finesweep.errors import ConfigError, Fault
from finesweep.sweeps import manifest
from finesweep.sweeps.ownership import claim
from finesweep.sweeps.patience import patiently
from finesweep.sweeps.pickles import check_states
from finesweep.sweeps.plan import Plan
from finesweep.sweeps.storage import check_hosts, quiet_optuna
from finesweep.sweeps.study import Study
from finesweep.system.console import make_console
from finesweep.system.files import write_status
from finesweep.system.locks import BackoffLock
from finesweep.system.paths import typed
from finesweep.system.presence import others, present
from finesweep.system.sweep_folder import SweepFolder

# What all who work on a sweep at the same time must have been told alike.
BUDGET = ("n_trials", "timeout", "target", "max_failure_rate", "max_retries")


@contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Hold a sweep's folder, made if it isn't there, while its manifest, study or status come about."""
    folder.mkdir(parents=True, exist_ok=True)
    with BackoffLock(SweepFolder(folder).opening_lock):
        yield


def open_sweep(plan: Plan, content: dict[str, Any]) -> None:
    """Write a sweep's manifest and make its study, as far as nobody has; call it within `changing`.

    Args:
        plan: the sweep.
        content: its manifest, as this call would write it.

    Raises:
        ConfigError: others work on it, with another budget; or the study is another sweep's.
    """
    before = manifest.read(plan.folder)
    changed = _changed_budget(before, content) if before else list(BUDGET)
    if before and changed and others(plan.files.present):
        name = changed[0]
        rule = f"Others work on this sweep with {before['settings'].get(name)}."
        fix = "Wait for them to end, or say the same."
        raise ConfigError(Fault(f"hydra.sweeper.{name}", rule, content["settings"][name], fix=fix))
    if changed:
        manifest.write(plan.folder, content)
    if not plan.files.status.is_file():
        quiet_optuna()
        study = patiently(plan.open_study, plan.folder)  # whoever makes its tables must be alone
        claim(study, plan.folder, plan.sweep_id, is_old=plan.is_old)
        write_status(plan.files.status, {"state": "open"})


def _changed_budget(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [name for name in BUDGET if before["settings"].get(name) != now["settings"][name]]


def own_study(plan: Plan) -> Study:
    """Open the study of a sweep, and make sure that it is this sweep's own.

    Raises:
        ConfigError: it isn't.
    """
    with changing(plan.folder):
        study = plan.open_study()
        claim(study, plan.folder, plan.sweep_id, is_old=plan.is_old)
    check_states(study.trials())
    return study


@contextmanager
def at_work(plan: Plan) -> Iterator[Path]:
    """Be one of those who work on a sweep.

    Yields:
        the file that says so.

    Raises:
        ConfigError: the study is in SQLite, and another host works on it.
    """
    with present(plan.files.present) as own:
        check_hosts(plan.settings.storage, others(plan.files.present, own))
        yield own


def say_opened(plan: Plan) -> None:
    """Print what joins a sweep that has been opened for others."""
    folder, console = typed(plan.folder), make_console(whole_lines=True)
    console.print(f"opened     {folder}: {plan.num_trials} trials", markup=False)
    console.print(f"work       finesweep work {folder}", markup=False)
    console.print(f"on SLURM   finesweep work {folder} --as slurm | sbatch", markup=False)
