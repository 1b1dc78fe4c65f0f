"""Ctrl-C, SIGTERM, a closed terminal: what goes on ends in order, a training loop at its own next step."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from finesweep.errors import Interrupted
from finesweep.system import distributed
from finesweep.system.processes import dies_with_parent

# What a batch system warns with before it ends a job (not every system has each of them), beside Ctrl-C.
WARNINGS = tuple(number for number in signal.Signals if number.name in ("SIGTERM", "SIGINT", "SIGUSR1"))
# A launcher of several processes passes on the Ctrl-C that the terminal has sent to each of them; the system
# sends the signal of a parent's death again as each further thread of the parent ends.
ECHO_S = 3.0
HANGUP = getattr(signal, "SIGHUP", None)  # Windows has none
logger = logging.getLogger(__name__)


@dataclass
class _Stopping:
    """How signals are treated now: a training loop may finish its step and save before it ends."""

    loops: int = 0  # training loops that will see what is requested
    is_handled: bool = False
    requested: int | None = None
    raised: int | None = None
    since: float = -math.inf
    ignores_termination: bool = False


_stopping = _Stopping()


@contextmanager
def interruptible(signals: Sequence[int] = (signal.SIGTERM, signal.SIGINT)) -> Iterator[None]:
    """Turn SIGTERM, Ctrl-C and SIGHUP into Interrupted; in another thread, or in such a block, do nothing.

    Inside `stop_at_next_step` the first signal only makes `stop_requested` answer; the second interrupts.

    Args:
        signals: that are turned.
    """
    if _stopping.is_handled or threading.current_thread() is not threading.main_thread():
        yield
        return

    terminals = open_terminals()

    def interrupt(number: int, _frame: Any) -> None:
        if number == HANGUP:
            leave(terminals)
        if _stopping.loops and _stopping.requested is None:
            _stopping.requested = number
            _stopping.since = time.monotonic()
            if number == signal.SIGINT:
                logger.info("Ctrl-C: this step is finished and saved first; once more ends at once.")
        else:
            interrupt_once(number)

    numbers = [*signals, *hangups()]
    previous = {number: signal.signal(number, interrupt) for number in numbers}
    _stopping.is_handled = True
    try:
        yield
    finally:
        _stopping.is_handled = False
        _stopping.requested = None
        for number, handler in previous.items():
            if not (number == signal.SIGTERM and _stopping.ignores_termination):
                signal.signal(number, handler)


def hangups() -> tuple[int, ...]:
    """Return the signal of a closed terminal, if there is one and it isn't ignored, as nohup asks for."""
    is_heard = HANGUP is not None and signal.getsignal(HANGUP) is not signal.SIG_IGN
    return (HANGUP,) if HANGUP is not None and is_heard else ()


def open_terminals() -> list[int]:
    """Return which of standard output and standard error are a terminal's."""
    return [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]


def leave(terminals: Sequence[int]) -> None:
    """Write to nowhere instead of to a terminal that is gone: saving mustn't fail of what it says."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in terminals:
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def ignore_termination() -> None:
    """Ignore SIGTERM from here on: a launcher sends it when one process has died, while this one says so."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _stopping.ignores_termination = True


def interrupt_once(number: int, _frame: Any = None) -> None:
    """Raise Interrupted, and remember it for `interruption_kept`; do nothing at the echo of a signal."""
    has_echoes = distributed.world_size() > 1 or dies_with_parent()
    is_echo = time.monotonic() - _stopping.since < ECHO_S
    if has_echoes and is_echo:
        return
    _stopping.since = time.monotonic()
    _stopping.raised = number
    raise Interrupted(number)


@contextmanager
def time_limit(seconds: float | None) -> Iterator[threading.Event]:
    """Send this process SIGTERM after a while, within the block.

    Args:
        seconds: how long; None for no limit.

    Yields:
        what is set when it is over.
    """
    is_over = threading.Event()

    def end() -> None:
        is_over.set()
        signal.raise_signal(signal.SIGTERM)  # to the main thread, like every signal in Python

    timer = threading.Timer(seconds or 0, end)
    timer.daemon = True
    if seconds is not None:
        timer.start()
    try:
        yield is_over
    finally:
        timer.cancel()


@contextmanager
def interruption_kept() -> Iterator[None]:
    """End with Interrupted if a signal came in the block, whatever became of the exception there.

    It may be raised inside a library, whose clean-up then finds things half done and fails in its own way.
    """
    _stopping.raised = None
    yield
    if _stopping.raised is not None:
        raise Interrupted(_stopping.raised)


@contextmanager
def stop_at_next_step() -> Iterator[None]:
    """Let a training loop end at its own convenience, with a checkpoint, when a signal comes.

    Raises:
        Interrupted: the signal came after the loop's last look at `stop_requested`.
    """
    _stopping.loops += 1
    try:
        yield
    finally:
        _stopping.loops -= 1
    if _stopping.requested is not None:
        raise Interrupted(_stopping.requested)


def stop_requested() -> int | None:
    """Return the signal that asked the training loop to stop, or None."""
    return _stopping.requested
