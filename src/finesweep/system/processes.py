"""Other processes, and what this one leaves to those that it starts."""

from __future__ import annotations

import atexit
import ctypes
import functools
import gc
import json
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from datetime import datetime
from pathlib import Path

PR_SET_PDEATHSIG = 1
CLOCK_MARGIN_S = 60.0  # by which a clock is set right while a process runs
BOOT_ID, PID_NAMESPACE = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
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
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:  # its parent, such as a container's first, reaps none
            return True
        began = process.create_time()
        return bool(seen_at) and began - CLOCK_MARGIN_S > datetime.fromisoformat(seen_at).timestamp()
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:  # it runs, as somebody else
        return False


@functools.cache
def host_id() -> str:
    """Name this host: its name, and where the system draws one the id of its boot.

    Two machines may have one name.
    """
    with suppress(OSError):
        return f"{socket.gethostname()} {BOOT_ID.read_text().strip()}"
    return socket.gethostname()


@functools.cache
def process_space() -> str:
    """Name where a process's number means something: this host, and there the container."""
    with suppress(OSError):
        return f"{host_id()} {PID_NAMESPACE.readlink()}"
    return host_id()


_of_parent: set[int] = (
    set()
)  # this process, once it has asked for its parent's death; not those forked from it


def die_with_parent() -> None:
    """Get SIGTERM when the process that started this one is gone: once, or several times within a moment.

    Linux sends it for the thread that was the parent, and again for each other thread that took its place.
    """
    _of_parent.add(os.getpid())
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    else:
        end_with(os.getppid())


def dies_with_parent() -> bool:
    """Say whether this process gets SIGTERM when its parent is gone."""
    return os.getpid() in _of_parent


def end_with(pid: int) -> None:
    """Get SIGTERM when a process of this host is gone."""
    threading.Thread(target=_outlive_not, args=(pid,), daemon=True).start()


def _outlive_not(pid: int) -> None:
    import psutil

    with suppress(psutil.NoSuchProcess):  # gone already
        psutil.Process(pid).wait()
    os.kill(os.getpid(), signal.SIGTERM)


def end_quickly() -> None:
    """Spare the interpreter its last searches for cycles, which take 0.8 s when torch has been imported."""
    atexit.register(gc.freeze)


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
