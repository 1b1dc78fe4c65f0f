"""Trials side by side in one process: each in a fiber, which gives up control where it waits for its pack.

Fibers are greenlets: nothing happens at the same time, and only `wait` lets another one go on. What a process
has one of and a trial thinks its own changes with them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any

from greenlet import getcurrent, greenlet
from hydra.core.hydra_config import HydraConfig

from finesweep.system.console import logging_to_console
from finesweep.system.signals import interruptible
from finesweep.training.packs import Pack

Job = Callable[[], None]


def wait() -> None:
    """Let the other trials go on, until the pack has computed this one's step."""
    mine: Any = HydraConfig.instance().cfg
    hub = getcurrent().parent
    assert hub is not None, "only a fiber can wait"
    hub.switch()
    HydraConfig.instance().cfg = mine


def run_together(next_job: Callable[[], Job | None], pack: Pack) -> int:
    """Run jobs, at most as many at a time as the pack has slots, until there is none; return their number.

    Args:
        next_job: returns the next one, or None where there is none now.
        pack: computes their steps.

    Raises:
        BaseException: the first that a job ended with, once the others have ended too.
    """
    fibers: list[greenlet] = []
    failure: BaseException | None = None
    count = 0
    with interruptible(), logging_to_console(quiet=True):
        while True:
            while failure is None and len(fibers) < pack.slots and (job := next_job()):
                fiber = greenlet(job)
                fiber.gr_context = copy_context()
                fibers.append(fiber)
                count += 1
                failure = _ended_with(fiber.switch)
                fibers = [fiber for fiber in fibers if not fiber.dead]
            if not fibers:
                break
            trouble = failure or _ended_with(pack.compute)
            outcomes = [_ended_with(partial(_go_on, fiber, trouble)) for fiber in fibers]
            failure = failure or next((error for error in outcomes if error), None)
            fibers = [fiber for fiber in fibers if not fiber.dead]
    if failure is not None:
        raise failure
    return count


def _go_on(fiber: greenlet, trouble: BaseException | None) -> None:
    """Let a fiber have its step, or, where something has ended them all, end it too."""
    if trouble is None:
        fiber.switch()
    else:
        fiber.throw(trouble)


def _ended_with(call: Callable[[], Any]) -> BaseException | None:
    try:
        call()
    except BaseException as error:
        return error
    return None
