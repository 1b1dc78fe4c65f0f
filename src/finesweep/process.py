"""The process a run lives in: its random state, its threads, its signals."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from finesweep.errors import Interrupted


def seed_everything(seed: int, threads: int) -> None:
    """Seed Python, NumPy and torch, and pin what changes bits: threads, and kernels on a GPU."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    if torch.cuda.is_available():
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True, warn_only=True)


@dataclass
class _Stopping:
    """How signals are treated now: a training loop may finish its step and save before it ends."""

    at_next_step: bool = False
    requested: int | None = None


_stopping = _Stopping()


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn SIGTERM and Ctrl-C into Interrupted; in a thread other than the main one do nothing.

    Inside `stop_at_next_step` the first signal only makes `stop_requested` answer; the second interrupts.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, _frame: Any) -> None:
        if _stopping.at_next_step and _stopping.requested is None:
            _stopping.requested = number
        else:
            raise Interrupted(number)

    previous = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        _stopping.requested = None
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def stop_at_next_step() -> Iterator[None]:
    """Let a training loop end at its own convenience, with a checkpoint, when a signal comes.

    Raises:
        Interrupted: the signal came after the loop's last look at `stop_requested`.
    """
    _stopping.at_next_step = True
    try:
        yield
    finally:
        _stopping.at_next_step = False
    if _stopping.requested is not None:
        raise Interrupted(_stopping.requested)


def stop_requested() -> int | None:
    """Return the signal that asked the training loop to stop, or None."""
    return _stopping.requested
