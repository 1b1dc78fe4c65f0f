"""Run a sweep: hand the study to workers, keep them alive, and say what came out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

from finesweep.config.hydra_insides import error_of
from finesweep.errors import ConfigError, Fault, FinesweepError
from finesweep.runs.layout import RunFolder
from finesweep.sweeps.counting import num_ended
from finesweep.sweeps.crew import Crew, supervise
from finesweep.sweeps.display import Display
from finesweep.sweeps.finalists import is_over
from finesweep.sweeps.holders import is_gone_here
from finesweep.sweeps.opening import at_work, own_study
from finesweep.sweeps.plan import BASIC_LAUNCHER, Plan
from finesweep.sweeps.points import first_points
from finesweep.sweeps.status import machine_faults, recorded_status
from finesweep.sweeps.storage import quiet_optuna
from finesweep.sweeps.study import Study
from finesweep.sweeps.summary import continuation, finish
from finesweep.sweeps.worker import LONGEST_WAIT_S, WorkerTask, work
from finesweep.system.files import write_text
from finesweep.system.presence import others
from finesweep.system.processes import end_quickly, process_space
from finesweep.system.redaction import redact
from finesweep.system.signals import interruptible
from finesweep.system.sweep_folder import SweepFolder


def run_sweep(plan: Plan, write_report: Callable[..., Path]) -> None:
    """Finish what is missing of a sweep, and write its results.

    Args:
        plan: the sweep.
        write_report: called with the folder once its results are written.

    Raises:
        ConfigError: the study in the storage is another sweep's, or this one's is lost.
        FinesweepError: every trial failed, or too many did.
        Interrupted: Ctrl-C or SIGTERM; the sweep can be continued.
    """
    quiet_optuna()
    end_quickly()
    plan.folder.mkdir(parents=True, exist_ok=True)
    # Where a controller ended in order, a trial without a worker couldn't be given back: not its fault.
    was_killed = RunFolder(plan.folder).state() in ("running", "killed")
    with _locked(plan.folder), machine_faults(plan), at_work(plan), _crew(plan) as crew:
        study = own_study(plan)
        study.reclaim(plan.settings.max_retries, is_gone_here, is_retry=was_killed)
        plan = replace(plan, points=tuple(first_points(plan, study)))
        write_text(plan.files.started, str(time.time()))
        with recorded_status(plan, study), interruptible():
            with Display(plan, study) as display:
                _run_workers(plan, study, display, crew)
            finish(plan, study, write_report)


@contextmanager
def _crew(plan: Plan) -> Iterator[Crew | None]:
    """Start the workers if this process is to supervise them, and leave none behind.

    What they import takes as long as opening the study does here.
    """
    is_ours = plan.settings.n_jobs > 0 and plan.config.hydra.launcher._target_.endswith(BASIC_LAUNCHER)
    if not is_ours:
        yield None
        return
    crew = Crew(plan.folder, plan.settings, min(plan.settings.n_jobs, plan.num_trials))
    try:
        crew.start()
        yield crew
    finally:
        crew.kill()


def _run_workers(plan: Plan, study: Study, display: Display, crew: Crew | None) -> None:
    if crew:
        supervise(plan, study, display, crew)
    elif plan.settings.n_jobs == 0:
        work(plan)
    else:
        _launch(plan, study, display)


def _launch(plan: Plan, study: Study, display: Display) -> None:
    """Have a launcher place workers until no trial is left: a batch system ends some before their time.

    Raises:
        FinesweepError: they end, and no trial has.
    """
    while not is_over(plan, study):
        before = num_ended(study.outlines())
        try:
            _launch_once(plan)
        except FinesweepError:
            raise
        except Exception as error:  # of one job; the others work on
            if num_ended(study.outlines()) == before:
                raise
            display.say(f"A job of the launcher has failed: {redact(str(error).strip().splitlines()[-1])}")
            _wait_for_others(plan)
        study.reclaim(plan.settings.max_retries, is_gone_here)
        if num_ended(study.outlines()) == before and not is_over(plan, study):
            rule = "The jobs of the launcher have ended, and not a single trial has."
            raise FinesweepError(Fault("hydra/launcher", rule, fix=continuation(plan)))


def _wait_for_others(plan: Plan) -> None:
    own = (process_space(), os.getpid())
    while any((one.space, one.pid) != own for one in others(plan.files.present)):
        time.sleep(LONGEST_WAIT_S)


def _launch_once(plan: Plan) -> None:
    """Let Hydra's launcher place the workers: one call, so that no batch waits for its slowest trial."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.plugins import Plugins
    from hydra.core.utils import JobStatus

    before = HydraConfig.instance().cfg
    launcher = Plugins.instance().instantiate_launcher(
        hydra_context=plan.hydra_context, task_function=WorkerTask(plan), config=plan.config
    )
    try:
        for done in launcher.launch([[] for _ in range(plan.settings.n_jobs)], initial_job_idx=0):
            if done.status is not JobStatus.COMPLETED:
                raise error_of(done)
    finally:
        HydraConfig.instance().cfg = before


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = FileLock(SweepFolder(folder).controller_lock)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        rule = "Another process runs this sweep right now."
        raise ConfigError(Fault(str(folder), rule, fix="Wait for it, or end it first.")) from None
    try:
        yield
    finally:
        lock.release()
