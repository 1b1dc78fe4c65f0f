"""A worker that joins a sweep from anywhere; the last one out does what a controller does at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from finesweep.errors import Interrupted, MachineFault, TrialsLeft
from finesweep.sweeps.agreement import check_agreement
from finesweep.sweeps.counting import num_left, states_of
from finesweep.sweeps.display import line_of
from finesweep.sweeps.finalists import is_over
from finesweep.sweeps.holders import is_gone_here
from finesweep.sweeps.opening import at_work, changing
from finesweep.sweeps.ownership import claim
from finesweep.sweeps.patience import patiently
from finesweep.sweeps.pickles import check_states
from finesweep.sweeps.plan import Plan
from finesweep.sweeps.points import first_points
from finesweep.sweeps.results import write_leaderboard
from finesweep.sweeps.status import machine_faults, reason_of, recorded_status, write_running
from finesweep.sweeps.storage import quiet_optuna
from finesweep.sweeps.study import Study
from finesweep.sweeps.summary import finish
from finesweep.sweeps.worker import LONGEST_WAIT_S, Share, work
from finesweep.system.console import make_console
from finesweep.system.files import write_status, write_text
from finesweep.system.locks import BackoffLock
from finesweep.system.paths import typed
from finesweep.system.presence import others
from finesweep.system.processes import end_quickly
from finesweep.system.records import STATUS, read_json
from finesweep.system.signals import WARNINGS, interruptible, time_limit

ENOUGH, TIME_IS_OVER = "it has had its trials", "its time is over"


def join(plan: Plan, write_report: Callable[..., Path]) -> None:
    """Take trials of an opened sweep until none is left; whoever is last writes its results.

    Args:
        plan: the sweep.
        write_report: called with the folder once the sweep's results are written.

    Raises:
        ConfigError: this process's versions or data are others than those of the sweep's trials; or its study
            is another sweep's.
        FinesweepError: every trial failed, or too many did.
        TrialsLeft: this worker ends before the sweep does: it was told to, or has had its share.
    """
    quiet_optuna()
    end_quickly()
    why = ENOUGH
    try:
        with interruptible(WARNINGS), time_limit(plan.settings.worker_timeout) as time_is_over:
            try:
                if _sees_the_end(plan, write_report):
                    return
            except Interrupted as stop:
                why = TIME_IS_OVER if time_is_over.is_set() else reason_of(stop)
    except Interrupted as stop:  # another signal, on the way out
        why = reason_of(stop)
    _say(f"This worker ends ({why}). Go on: finesweep work {typed(plan.folder)}")
    raise TrialsLeft


def _sees_the_end(plan: Plan, write_report: Callable[..., Path]) -> bool:
    """Take part in a sweep, and say whether it is over: then its results are written, whoever has done it."""
    with machine_faults(plan), at_work(plan) as own:
        study = patiently(plan.open_study, plan.folder)
        claim(study, plan.folder, plan.sweep_id, is_old=plan.is_old)
        check_states(study.trials())
        if not _has_results(plan, study):
            check_agreement(plan, study)
            with _taking_part(plan, study, own):
                _work_along(plan, study)
                if not is_over(plan, study):
                    return False
                _end(plan, study, write_report)
                return True
    _say(f"This sweep is over, and its results are written: {typed(plan.folder)}")
    return True


@contextmanager
def _taking_part(plan: Plan, study: Study, own: Path) -> Iterator[None]:
    """Keep status.json true: the first of those who are there says `running`, the last what became of it.

    Args:
        plan: the sweep.
        study: its study.
        own: the file by which this process is present.
    """
    with changing(plan.folder):
        # Several may have come at once, before any of them has said so.
        if _said(plan) != "running" or not others(plan.files.present, own):
            write_text(plan.files.started, str(time.time()))
            write_running(plan)
    reason = ENOUGH
    try:
        yield
    except BaseException as error:
        reason = reason_of(error)
        raise
    finally:
        with changing(plan.folder):
            own.unlink(missing_ok=True)
            if _said(plan) == "running" and not others(plan.files.present):
                with suppress(OSError, MachineFault):  # a full disk, or a storage that is away, has been said
                    write_status(plan.files.status, {"state": "interrupted", "reason": reason})
                    write_leaderboard(plan, study)


def _work_along(plan: Plan, study: Study) -> None:
    """Run trials until none is left to take, and wait for those of others, of which one may come back."""
    left = num_left(study.outlines(), plan.num_trials)
    _say(f"work       {typed(plan.folder)}: {left} of {plan.num_trials} trials to take")
    share = Share(plan.settings.worker_trials, lambda number: _say_ended(study, number))
    work(replace(plan, points=tuple(first_points(plan, study))), study, share)
    while not share.is_used_up and states_of(study.outlines())["RUNNING"]:
        time.sleep(LONGEST_WAIT_S)
        study.reclaim(plan.settings.max_retries, is_gone_here)


def _end(plan: Plan, study: Study, write_report: Callable[..., Path]) -> None:
    """Write the sweep's results, once: whoever comes second, a controller too, finds them written."""
    with BackoffLock(plan.files.controller_lock):
        if _has_results(plan, study):
            _say(f"All trials have ended; another process has written the results: {typed(plan.folder)}")
            return
        with recorded_status(plan, study):
            finish(plan, study, write_report)


def _has_results(plan: Plan, study: Study) -> bool:
    """Whether the sweep is over and its results are of all its trials."""
    is_written = _said(plan) in ("complete", "interrupted") and study.has_noted_end
    return is_written and is_over(plan, study)


def _said(plan: Plan) -> str:
    """Return the state in status.json, whoever is there by now."""
    return read_json(plan.files.status, STATUS)["state"]


def _say_ended(study: Study, number: int) -> None:
    trial = study.trial(number)
    if trial.state.is_finished():  # not where it was lost
        _say(line_of(trial))


def _say(text: str) -> None:
    make_console(whole_lines=True).print(text, markup=False)
