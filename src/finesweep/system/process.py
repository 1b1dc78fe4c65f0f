"""The process a run lives in: its random state, its threads, its signals."""

from __future__ import annotations

import atexit
import ctypes
import gc
import json
import math
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

from finesweep.errors import Interrupted
from finesweep.system import distributed

# A launcher of several processes passes on the Ctrl-C that the terminal has sent to each of them.
ECHO_S = 3.0
PR_SET_PDEATHSIG = 1
CLOCK_MARGIN_S = 60.0  # by which a clock is set right while a process runs
OWN_IMPORTS = "FINESWEEP_OWN_IMPORTS"  # what the environment said before import_environment


def is_gone(host: str, pid: int, seen_at: str = "") -> bool:
    """Say whether a process ran on this host and is no more.

    Args:
        host: where it ran.
        pid: its number, which may be another process's by now.
        seen_at: when it ran, in ISO 8601; a process that began later is another one.
    """
    if host != socket.gethostname():
        return False
    import psutil

    try:
        began = psutil.Process(pid).create_time()
        return bool(seen_at) and began - CLOCK_MARGIN_S > datetime.fromisoformat(seen_at).timestamp()
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:  # it runs, as somebody else
        return False


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


def random_state() -> dict[str, Any]:
    """Return every generator's state, in types that torch.load takes with `weights_only`."""
    import numpy as np
    import torch

    numpy_state: Any = np.random.get_state()
    kind, words, *rest = numpy_state
    return {
        "python": random.getstate(),
        "numpy": (kind, words.tolist(), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Go back to what `random_state` returned."""
    import numpy as np
    import torch

    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


@dataclass
class _Stopping:
    """How signals are treated now: a training loop may finish its step and save before it ends."""

    at_next_step: bool = False
    requested: int | None = None
    raised: int | None = None
    since: float = -math.inf
    ignores_termination: bool = False


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
            _stopping.since = time.monotonic()
        elif distributed.world_size() == 1 or time.monotonic() - _stopping.since > ECHO_S:
            raise_interrupted(number)

    previous = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        _stopping.requested = None
        for number, handler in previous.items():
            if not (number == signal.SIGTERM and _stopping.ignores_termination):
                signal.signal(number, handler)


def ignore_termination() -> None:
    """Ignore SIGTERM from here on: a launcher sends it when one process has died, while this one says so."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _stopping.ignores_termination = True


def raise_interrupted(number: int) -> NoReturn:
    """Raise Interrupted, and remember it for `interruption_kept`."""
    _stopping.raised = number
    raise Interrupted(number)


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
    _stopping.at_next_step = True
    try:
        yield
    finally:
        _stopping.at_next_step = False
    if _stopping.requested is not None:
        raise Interrupted(_stopping.requested)


def die_with_parent() -> None:
    """Get SIGTERM when the process that started this one is gone; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def end_quickly() -> None:
    """Spare the interpreter its last searches for cycles, which take 0.8 s when torch has been imported."""
    atexit.register(gc.freeze)


def stop_requested() -> int | None:
    """Return the signal that asked the training loop to stop, or None."""
    return _stopping.requested


def import_environment() -> dict[str, str]:
    """Let a Python of ours import from where this one does, and not from whatever folder it works in."""
    places = os.pathsep.join(os.path.abspath(place) for place in sys.path if place)
    own = {name: os.environ.get(name, "") for name in ("PYTHONPATH", "PYTHONSAFEPATH")}
    return {"PYTHONPATH": places, "PYTHONSAFEPATH": "1", OWN_IMPORTS: json.dumps(own)}


def restore_environment() -> None:
    """Undo `import_environment`, once it has had its effect: it isn't meant for other programs."""
    for name, value in json.loads(os.environ.pop(OWN_IMPORTS, "{}")).items():
        os.environ.pop(name, None)
        if value:
            os.environ[name] = value
