"""A worker: ask the study for a trial, run it, tell; until nothing is left."""

from __future__ import annotations

import gc
import logging
import math
import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobStatus, run_job, setup_globals
from omegaconf import DictConfig, open_dict

from finesweep.config.build import register_resolvers
from finesweep.config.hydra_insides import error_of
from finesweep.config.trust import check_trusted, strangers
from finesweep.errors import FinesweepError, Interrupted, MachineFault
from finesweep.sweeps.attributes import REMEMBERED
from finesweep.sweeps.compose import Composer
from finesweep.sweeps.finalists import is_over, next_run
from finesweep.sweeps.holders import LeaseLost, Worker, is_gone_here
from finesweep.sweeps.lease import kept_lease
from finesweep.sweeps.opening import at_work
from finesweep.sweeps.outline import FINALIST, SEED
from finesweep.sweeps.patience import code_of, fault_of_machine, patiently
from finesweep.sweeps.plan import Plan
from finesweep.sweeps.recall import drops, memory_of
from finesweep.sweeps.stopping import should_stop, too_many_failures
from finesweep.sweeps.storage import quiet_optuna
from finesweep.sweeps.study import Study
from finesweep.sweeps.team import Job, Team, TeamDied
from finesweep.sweeps.trial import CurrentTrial, running
from finesweep.sweeps.winner import evaluate_winner
from finesweep.system.machine import is_about_memory
from finesweep.system.processes import (
    die_with_parent,
    end_quickly,
    end_with,
    process_space,
    restore_environment,
)
from finesweep.system.redaction import redact, redact_tracebacks, redacted_output
from finesweep.system.signals import WARNINGS, hangups, interrupt_once, interruptible, interruption_kept
from finesweep.system.signatures import locate

if TYPE_CHECKING:
    from optuna.trial import Trial

    from finesweep.training.base import Packing

logger = logging.getLogger(__name__)

SHORTEST_WAIT_S, LONGEST_WAIT_S = 0.05, 1.0
ERROR_FILE = "error.txt"
# submitit would make an error of its SIGUSR2, in the midst of a trial, and nothing of SIGTERM.
LAUNCHERS_WARNINGS = tuple({*WARNINGS, getattr(signal, "SIGUSR2", signal.SIGTERM)} - {signal.SIGINT})


@dataclass(frozen=True)
class WorkerTask:
    """A worker as a Hydra job, for launchers that place it on other machines.

    Args:
        plan: the sweep.
        controller: the process that it is made in, and where its number means something.
    """

    plan: Plan
    controller: tuple[str, int] = field(default_factory=lambda: (process_space(), os.getpid()))

    def __call__(self, _config: DictConfig) -> None:
        """Work until nothing is left, or until it is told to end; the launcher's own config is not used.

        A launcher takes for a failure of its job what is in order here: trials were saved and given back.
        """
        space, controller = self.controller
        if space == process_space() and controller != os.getpid():
            end_with(controller)
        with suppress(Interrupted), interruptible(LAUNCHERS_WARNINGS), at_work(self.plan):
            work(self.plan)


@dataclass
class Share:
    """What a worker may take of a sweep.

    Args:
        most: how many trials; None for all that there are.
        told: called with the number of each that has ended.
        taken: how many it has had.
    """

    most: int | None = None
    told: Callable[[int], None] = lambda number: None
    taken: int = 0

    @property
    def is_used_up(self) -> bool:
        """Whether it may take no more."""
        return self.most is not None and self.taken >= self.most


def work(plan: Plan, study: Study | None = None, share: Share | None = None) -> None:
    """Run trials until none waits and none that might come back is running.

    Args:
        plan: the sweep.
        study: its study; opened here when None.
        share: what this worker may take; everything when None.
    """
    register_resolvers()
    with strangers(plan.vouched):
        _work(plan, study, share or Share())


def _work(plan: Plan, study: Study | None, share: Share) -> None:
    quiet_optuna()
    study = study or patiently(plan.open_study, plan.folder)
    gc.freeze()  # what has been imported stays; no search for cycles needs to go through it
    worker, composer = Worker.here(), Composer(plan)
    team = Team(plan) if plan.settings.processes_per_trial > 1 else None
    try:
        if plan.slots > 1:
            _run_packed(plan, composer, study, worker, share)
        else:
            _run_trials(plan, composer, study, worker, share, team)
    finally:
        if team:
            team.close()
    if is_over(plan, study) and not too_many_failures(plan, study.trials()):
        # The last worker is warm; the controller would have to import torch first.
        evaluate_winner(plan, study)


def _run_trials(
    plan: Plan, composer: Composer, study: Study, worker: Worker, share: Share, team: Team | None
) -> None:
    def run_one() -> bool:
        trial = _take(plan, study, worker, share)
        if trial is not None:
            _run_trial(plan, composer, study, worker, trial, team)
            share.told(trial.number)
        return trial is not None

    _repeat(run_one, plan, study, share)


def _take(plan: Plan, study: Study, worker: Worker, share: Share) -> Trial | None:
    """Take a trial, if there is one that this worker may have."""
    if share.is_used_up:
        return None
    trial = study.take(
        worker,
        plan.space.axes,
        plan.num_trials,
        plan.points,
        stop=partial(should_stop, plan),
        drops=partial(drops, plan),
        further=partial(next_run, plan, study),
    )
    share.taken += trial is not None
    if trial and plan.remembered and (point := memory_of(plan, study.trials()[trial.number])):
        trial.set_user_attr(REMEMBERED, str(point))
    return trial


def _run_packed(plan: Plan, composer: Composer, study: Study, worker: Worker, share: Share) -> None:
    """Run as many trials at a time as there are slots; whose turn it is, fibers.py says."""
    from finesweep.sweeps import fibers
    from finesweep.training.packs import Pack

    pack = Pack(plan.slots, fibers.wait, plan.settings.study_seed)
    next_look = -math.inf

    def next_job() -> Callable[[], None] | None:
        """Take a trial; where there was none, ask again after a while: others of the pack go on meanwhile."""
        nonlocal next_look
        if time.monotonic() < next_look:
            return None
        trial = _take(plan, study, worker, share)
        if trial is None:
            next_look = time.monotonic() + LONGEST_WAIT_S
            return None

        def run_it() -> None:
            _run_trial(plan, composer, study, worker, trial, pack=pack)
            share.told(trial.number)

        return run_it

    def run_several() -> bool:
        nonlocal next_look
        next_look = -math.inf
        return fibers.run_together(next_job, pack) > 0

    _repeat(run_several, plan, study, share)


def _repeat(run_some: Callable[[], bool], plan: Plan, study: Study, share: Share) -> None:
    """Run trials until none waits and none that might come back is running.

    Args:
        run_some: runs what there is, and says whether there was anything.
        plan: the sweep.
        study: its study.
        share: what this worker may take.
    """
    wait = SHORTEST_WAIT_S
    while not share.is_used_up:
        if run_some():
            wait = SHORTEST_WAIT_S
        elif not is_over(plan, study) and not should_stop(plan, study.trials()):  # one may come back
            time.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT_S)
            study.reclaim(plan.settings.max_retries, is_gone_here)
        else:
            break


def _run_trial(
    plan: Plan,
    composer: Composer,
    study: Study,
    worker: Worker,
    trial: Any,
    team: Team | None = None,
    pack: Packing | None = None,
) -> None:
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
            current.set_attribute("duration_s", round(time.monotonic() - start, 3))
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
    study: Study, worker: Worker, trial: Any, current: CurrentTrial, error: BaseException | None, value: Any
) -> None:
    import optuna

    if isinstance(error, optuna.TrialPruned):
        study.prune(trial, worker)
        return
    values = [value] if isinstance(value, int | float) else value
    if error is None and not _usable(values, len(study.optuna.directions)):
        error = ValueError(f"the objective must be a finite number, but the job returned {value!r}")
    if error is None:
        study.tell(trial, worker, [float(v) for v in values])
        return
    current.folder.mkdir(parents=True, exist_ok=True)
    text = "".join(traceback.format_exception(error))
    (current.folder / ERROR_FILE).write_text(redact(text), encoding="utf-8")
    if isinstance(error, FinesweepError):
        reason = "; ".join(f"{fault.where}: {fault.rule}" for fault in error.faults)
    else:
        reason = f"{type(error).__name__}: {error}"
    if is_about_memory(reason):
        reason += " (there was too little memory)"
    study.fail(trial, worker, " ".join(reason.split()))


def _usable(values: Any, count: int) -> bool:
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != count:
        return False
    return all(isinstance(value, int | float) and math.isfinite(value) for value in values)


def main() -> None:
    """Run as a process of a controller: the plan comes on standard input, and SIGTERM means stop."""
    restore_environment()
    for number in (signal.SIGTERM, *hangups()):
        signal.signal(number, interrupt_once)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the controller's; it tells us
    end_quickly()
    redact_tracebacks()
    die_with_parent()  # so that the trial is given back
    setup_globals()
    singletons, pickled = pickle.load(sys.stdin.buffer)
    Singleton.set_state(singletons)
    plan = pickle.loads(pickled)
    try:
        with redacted_output():
            work(plan)
    except Interrupted as interruption:
        sys.exit(128 + interruption.signal_number)
    except Exception as error:
        fault = fault_of_machine(error, plan.folder)
        if fault is None:
            raise
        logger.error("%s", fault)
        os._exit(code_of(fault))  # without the last flush of a log that may be on the full disk


if __name__ == "__main__":
    main()
