"""Why a sweep ends before its last trial: failures, a target that is reached, time."""

from __future__ import annotations

import time
from collections.abc import Sequence

from finesweep.sweeps.counting import num_ended, num_left, states_of
from finesweep.sweeps.outline import Outline
from finesweep.sweeps.plan import Plan


def should_stop(plan: Plan, trials: Sequence[Outline]) -> str:
    """Say why no further trial should start, or nothing."""
    return too_many_failures(plan, trials) or target_reached(plan, trials) or out_of_time(plan, trials)


def too_many_failures(plan: Plan, trials: Sequence[Outline]) -> str:
    """Say how many trials failed if that ends the sweep, or nothing."""
    settings = plan.settings
    ended, failed = num_ended(trials), states_of(trials)["FAIL"]
    if ended >= 4 and failed > settings.max_failure_rate * ended:
        return f"{failed} of {ended} trials failed (max_failure_rate={settings.max_failure_rate})"
    return ""


def target_reached(plan: Plan, trials: Sequence[Outline]) -> str:
    """Name the target if a trial has reached it, or say nothing."""
    settings = plan.settings
    if settings.target is not None and len(settings.directions) == 1:
        sign = 1 if settings.directions[0] == "maximize" else -1
        values = [trial.value for trial in trials if trial.state.name == "COMPLETE"]
        if any(sign * value >= sign * settings.target for value in values if value is not None):
            return f"the target {settings.target} is reached"
    return ""


def out_of_time(plan: Plan, trials: Sequence[Outline]) -> str:
    """Name the timeout if it is over and trials are left, or say nothing."""
    if not num_left(trials, plan.num_trials) or not time_is_over(plan):
        return ""
    return f"the timeout of {plan.settings.timeout:g} s is over"


def time_is_over(plan: Plan) -> bool:
    """Whether this call has had its time."""
    timeout = plan.settings.timeout
    return timeout is not None and float(plan.files.started.read_text()) + timeout < time.time()
