"""A sweep's status.json, true however a call of it ends, and what the machine's faults ask of the user."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime

from finesweep.errors import DiskFull, FinesweepError, Interrupted, StorageLost, StudyGone
from finesweep.runs.layout import OF_SEVERAL
from finesweep.sweeps.counting import num_left
from finesweep.sweeps.holders import is_gone_here
from finesweep.sweeps.patience import fault_of_machine
from finesweep.sweeps.plan import Plan
from finesweep.sweeps.results import write_leaderboard
from finesweep.sweeps.stopping import out_of_time, target_reached
from finesweep.sweeps.study import Study
from finesweep.sweeps.summary import continuation
from finesweep.system.console import make_console
from finesweep.system.files import disk_full, write_status
from finesweep.system.paths import relative_to_here
from finesweep.system.redaction import redact


@contextmanager
def recorded_status(plan: Plan, study: Study) -> Iterator[None]:
    """Keep status.json true however the sweep ends; a sweep that isn't complete can be resumed."""
    path = plan.files.status
    write_running(plan)
    try:
        yield
        trials = study.trials()
        late = "" if target_reached(plan, trials) else out_of_time(plan, trials)
    except Interrupted as interruption:
        write_status(path, {"state": "interrupted", "reason": reason_of(interruption)})
        study.hurry()
        make_console(whole_lines=True).print(_stopped(plan, study), markup=False)
        raise
    except BaseException as error:
        fault = fault_of_machine(error, plan.folder)
        reason = reason_of(fault or error)
        with suppress(OSError) if fault else nullcontext():  # which has to be said, not what it prevents
            write_status(path, {"state": "interrupted" if fault else "failed", "reason": reason})
        if fault:
            with suppress(Exception):  # or the next call does it
                study.reclaim(plan.settings.max_retries, is_gone_here, is_retry=False)
        raise
    write_status(path, {"state": "interrupted", "reason": late} if late else {"state": "complete"})


def write_running(plan: Plan) -> None:
    """Say that this process works on the sweep."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    here = {"host": socket.gethostname(), "pid": os.getpid(), "time": now, OF_SEVERAL: True}
    write_status(plan.files.status, {"state": "running", **here})


def reason_of(error: BaseException) -> str:
    """Say in a few words what has ended a call of a sweep."""
    if isinstance(error, Interrupted):
        return signal.Signals(error.signal_number).name
    return str(error) if isinstance(error, FinesweepError) else redact(repr(error))


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
def machine_faults(plan: Plan) -> Iterator[None]:
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
