"""Run a sweep: hand the study to workers, keep them alive, and say what came out."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from finesweep.config.hydra_insides import error_of
from finesweep.errors import ConfigError, DiskFull, Fault, FinesweepError, Interrupted, StorageLost, StudyGone
from finesweep.runs.layout import RunFolder
from finesweep.sweeps.crew import Crew, supervise
from finesweep.sweeps.display import Display
from finesweep.sweeps.ownership import claim
from finesweep.sweeps.patience import fault_of_machine
from finesweep.sweeps.pickles import check_states
from finesweep.sweeps.plan import BASIC_LAUNCHER, GRID_SAMPLER, Plan
from finesweep.sweeps.results import write_leaderboard
from finesweep.sweeps.space import value_on
from finesweep.sweeps.stopping import out_of_time, target_reached
from finesweep.sweeps.storage import quiet_optuna
from finesweep.sweeps.study import FIXED, Study, is_gone_here, num_left
from finesweep.sweeps.summary import continuation, finish
from finesweep.sweeps.worker import WorkerTask, work
from finesweep.system.console import make_console
from finesweep.system.files import disk_full, write_status, write_text
from finesweep.system.paths import relative_to_here
from finesweep.system.processes import end_quickly
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
    with _locked(plan.folder), _machine_faults(plan), _crew(plan) as crew:
        study = plan.open_study()
        claim(study, plan.folder, plan.sweep_id, is_old=plan.is_old)
        check_states(study.trials())
        # Where a controller ended in order, a trial without a worker couldn't be given back: not its fault.
        was_killed = RunFolder(plan.folder).state() in ("running", "killed")
        study.reclaim(plan.settings.max_retries, is_gone_here, is_retry=was_killed)
        plan = replace(plan, points=tuple(_first_points(plan, study)))
        write_text(plan.files.started, str(time.time()))
        with _recorded_status(plan, study), interruptible():
            with Display(plan, study) as display:
                _run_workers(plan, study, display, crew)
            finish(plan, study, write_report)


@contextmanager
def _recorded_status(plan: Plan, study: Study) -> Iterator[None]:
    """Keep status.json true however the sweep ends; a sweep that isn't complete can be resumed."""
    path = plan.files.status
    now = datetime.now(UTC).isoformat(timespec="seconds")
    write_status(path, {"state": "running", "host": socket.gethostname(), "pid": os.getpid(), "time": now})
    try:
        yield
        trials = study.trials()
        late = "" if target_reached(plan, trials) else out_of_time(plan, trials)
    except Interrupted as interruption:
        name = signal.Signals(interruption.signal_number).name
        write_status(path, {"state": "interrupted", "reason": name})
        study.hurry()
        make_console().print(_stopped(plan, study), markup=False)
        raise
    except BaseException as error:
        fault = fault_of_machine(error, plan.folder)
        reason = str(fault or error) if isinstance(fault or error, FinesweepError) else redact(repr(error))
        with suppress(OSError) if fault else nullcontext():  # which has to be said, not what it prevents
            write_status(path, {"state": "interrupted" if fault else "failed", "reason": reason})
        if fault:
            with suppress(Exception):  # or the next call does it
                study.reclaim(plan.settings.max_retries, is_gone_here, is_retry=False)
        raise
    write_status(path, {"state": "interrupted", "reason": late} if late else {"state": "complete"})


def _stopped(plan: Plan, study: Study) -> str:
    """Take the trials back from killed workers, and say what is left to do."""
    try:
        study.reclaim(plan.settings.max_retries, is_gone_here, is_retry=False)
        write_leaderboard(plan, study)
        left = num_left(study.trials(), plan.num_trials)
    except StorageLost as lost:
        if isinstance(lost, StudyGone):
            raise
        # The next call takes them back.
        return f"Stopped. {lost.faults[0].rule} When it is back: {continuation(plan)}"
    return f"Stopped with {left} trials to go. {continuation(plan)}"


@contextmanager
def _machine_faults(plan: Plan) -> Iterator[None]:
    """Say of a full disk, or of a study that is away or gone, how the sweep goes on."""
    try:
        yield
    except Exception as error:
        fault = fault_of_machine(error, plan.folder)
        if fault is None:
            raise
        ways = {
            DiskFull: f"Free some space. {continuation(plan)}",
            StorageLost: f"When it is back: {continuation(plan)}",
            StudyGone: f"Bring back a copy of it, or start anew under another name=... {continuation(plan)}",
        }
        if isinstance(fault, DiskFull):
            fault = disk_full(relative_to_here(plan.folder), "the sweep has stopped, and its trials are kept")
        raise type(fault)(replace(fault.faults[0], fix=ways[type(fault)])) from error


def _first_points(plan: Plan, study: Study) -> list[dict[str, Any]]:
    """Return the points to try first: the config as it stands, the user's, then a finite space's others.

    They are taken by trial number. A finite space may have been searched in part, by a call that wanted fewer
    trials: then the points that were drawn stand where they were tried, and those that are left follow.
    """
    axes = plan.space.axes
    enqueued = [
        {key: value_on(axes[key], value) if key in axes else value for key, value in point.items()}
        for point in plan.settings.enqueue
    ]
    first = [plan.default] if plan.default else []
    first += [point for point in enqueued if point != plan.default]
    is_grid = plan.settings.sampler["_target_"] == GRID_SAMPLER
    size = plan.space.size()
    if is_grid or (
        size is not None and size <= plan.settings.n_trials and not plan.settings.custom_search_space
    ):
        tried = [trial.system_attrs.get(FIXED, trial.params) for trial in study.trials()]
        return tried + [point for point in _in_front(first, plan.space.points()) if point not in tried]
    return first


def _in_front(first: list[dict[str, Any]], points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Order the points of a finite space so that one that agrees with each of `first` comes first."""
    front: list[dict[str, Any]] = []
    for wanted in first:
        agreeing = (point for point in points if point.items() >= wanted.items() and point not in front)
        front += islice(agreeing, 1)
    return front + [point for point in points if point not in front]


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
        _launch(plan)


def _launch(plan: Plan) -> None:
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
