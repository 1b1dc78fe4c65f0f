"""What finesweep needs of multiprocessing that it doesn't offer; tests/test_library_insides.py tests it."""

from __future__ import annotations

from multiprocessing.connection import Listener
from typing import Any


def limit_waiting(listener: Listener, seconds: float) -> None:
    """Let a listener's `accept` raise TimeoutError when nobody has called for so long.

    Read from Python 3.11, multiprocessing/connection.py. A Listener takes no timeout.
    """
    inner: Any = listener
    inner._listener._socket.settimeout(seconds)
