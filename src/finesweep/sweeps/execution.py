"""One trial of a worker: composed, run under its lease, and told."""

from __future__ import annotations

import logging
import math
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobStatus, run_job
from omegaconf import DictConfig, open_dict

from finesweep.config.hydra_insides import error_of
from finesweep.config.trust import check_trusted
from finesweep.errors import FinesweepError, Interrupted, MachineFault
from finesweep.sweeps.compose import Composer
from finesweep.sweeps.holders import LeaseLost, Worker
from finesweep.sweeps.lease import kept_lease
from finesweep.sweeps.outline import FINALIST, SEED
from finesweep.sweeps.patience import fault_of_machine
from finesweep.sweeps.plan import Plan
from finesweep.sweeps.study import Study
from finesweep.sweeps.team import Job, Team, TeamDied
from finesweep.sweeps.trial import CurrentTrial, running
from finesweep.system.machine import is_about_memory
from finesweep.system.redaction import redact
from finesweep.system.signals import interruption_kept
from finesweep.system.signatures import locate

if TYPE_CHECKING:
    from optuna.trial import Trial

    from finesweep.training.base import Packing

logger = logging.getLogger(__name__)

ERROR_FILE = "error.txt"


def run_one(
    plan: Plan,
    composer: Composer,
    study: Study,
    worker: Worker,
    trial: Trial,
    team: Team | None = None,
    pack: Packing | None = None,
) -> None:
    """Run a trial that was taken, and record how it ended.

    Args:
        plan: the sweep.
        composer: composes its config.
        study: its study.
        worker: who has taken it.
        trial: the trial.
        team: the processes that run it together, if it isn't this one.
        pack: the trials of this process that it trains with, if any.

    Raises:
        Interrupted: this process was told to stop; the trial was given back.
        MachineFault: what the machine is to blame for; the trial was given back.
    """
    folder = plan.trial_folder(trial.number)
    start = time.monotonic()
    try:
        with kept_lease(study, worker, study.id_of(trial)) as lost:
            prunes = len(plan.settings.directions) == 1 and FINALIST not in trial.user_attrs
            spared = plan.spares(trial.number)
            current = CurrentTrial(trial.number, folder, plan.study_name, trial, prunes, spared, lost, pack)
            with interruption_kept():
                error, value = _execute(plan, composer, current, team)
            if isinstance(error, LeaseLost):
                raise error
            if error and (fault := fault_of_machine(error, plan.folder)):
                raise fault from error
            current.note("duration_s", round(time.monotonic() - start, 3))
            _record(study, worker, trial, current, error, value)
    except LeaseLost as loss:
        logger.warning("Dropped a trial: %s.", loss)
    except TeamDied as death:
        logger.warning("Trial %d: %s.", trial.number, death)
        study.lose(trial, worker, plan.settings.max_retries)
    except (Interrupted, KeyboardInterrupt):
        study.hurry()
        # The trial had just ended when the signal came; or the storage is away: who resumes takes it back.
        with suppress(LeaseLost, MachineFault):
            study.give_back(trial, worker)
        raise
    except Exception as error:
        fault = fault_of_machine(error, plan.folder)
        if fault is None:
            raise
        study.hurry()  # this worker ends: a storage that is away has been waited for
        with suppress(Exception):  # else who resumes finds the trial without a worker
            study.give_back(trial, worker)
        raise fault from error


def _execute(
    plan: Plan, composer: Composer, current: CurrentTrial, team: Team | None
) -> tuple[BaseException | None, Any]:
    try:
        config = _compose(plan, composer, current)
    except Exception as error:
        return error, None
    if team is None:
        return execute(plan, config, current)
    assert current.lease
    outcome = team.run(Job(config, current.number, current.folder), current.lease.check)
    return outcome.error, outcome.value


def execute(
    plan: Plan, config: DictConfig, current: CurrentTrial
) -> tuple[BaseException | None, float | Sequence[float] | None]:
    """Run a trial's job; return the exception it ended with, and its value."""
    try:
        with running(current):
            done = run_job(
                hydra_context=plan.hydra_context,
                task_function=plan.task_function,
                config=config,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
    except Exception as error:  # Hydra's own preparations: the trial's failure, not ours
        return error, None
    if done.status is JobStatus.COMPLETED:
        return None, done.return_value
    return error_of(done), None


def _compose(plan: Plan, composer: Composer, current: CurrentTrial) -> DictConfig:
    if plan.settings.custom_search_space:
        check_trusted({"_target_": plan.settings.custom_search_space}, "hydra.sweeper.custom_search_space")
        locate(plan.settings.custom_search_space)(composer.compose({}), current.optuna_trial)
    config = composer.compose(current.optuna_trial.params)
    about = current.optuna_trial.user_attrs
    with open_dict(config):
        if FINALIST in about:
            config[SEED] = about[SEED]
        config.hydra.job.id = f"{plan.study_name}-{current.number}"
        config.hydra.job.num = current.number
        config.hydra.sweep.dir = str(plan.folder)
        config.hydra.sweep.subdir = str(plan.files.trial(current.number).relative_to(plan.folder))
    return config


def _record(
    study: Study, worker: Worker, trial: Trial, current: CurrentTrial, error: BaseException | None, value: Any
) -> None:
    import optuna

    about = current.noted()
    if isinstance(error, optuna.TrialPruned):
        study.prune(trial, worker, about)
        return
    values = [value] if isinstance(value, int | float) else value
    if error is None and not _usable(values, len(study.optuna.directions)):
        error = ValueError(f"the objective must be a finite number, but the job returned {value!r}")
    if error is None:
        study.tell(trial, worker, [float(v) for v in values], about)
        return
    current.folder.mkdir(parents=True, exist_ok=True)
    text = "".join(traceback.format_exception(error))
    (current.folder / ERROR_FILE).write_text(redact(text), encoding="utf-8")
    study.fail(trial, worker, _reason(error), about)


def _reason(error: BaseException) -> str:
    """Say in one line why a trial failed."""
    if isinstance(error, FinesweepError):
        reason = "; ".join(f"{fault.where}: {fault.rule}" for fault in error.faults)
    else:
        reason = f"{type(error).__name__}: {error}"
    if is_about_memory(reason):
        reason += " (there was too little memory)"
    return " ".join(reason.split())


def _usable(values: Any, count: int) -> bool:
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != count:
        return False
    return all(isinstance(value, int | float) and math.isfinite(value) for value in values)
