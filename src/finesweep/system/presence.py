"""Who works in a folder right now, on whatever host: a file of each, touched while its process lives."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread

from finesweep.system.files import write_json
from finesweep.system.processes import host_id, is_gone, process_space
from finesweep.system.records import PRESENCE, DamagedFile, read_json

TOUCH_S = 10.0
STALE_S = 60.0  # a file of another host's that stood untouched for so long is of nobody who lives


@dataclass(frozen=True)
class Present:
    """A process that is at work.

    Args:
        host: its host's name.
        host_id: its host, told apart from others of that name.
        space: where its number means something.
        pid: its number.
        time: when it came.
    """

    host: str
    host_id: str
    space: str
    pid: int
    time: str

    @classmethod
    def here(cls) -> Present:
        """Describe this process."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(socket.gethostname(), host_id(), process_space(), os.getpid(), now)


@contextmanager
def present(place: Path) -> Iterator[Path]:
    """Be at work within the block; what killed processes of this host have left is cleared away.

    Args:
        place: the folder of such files.

    Yields:
        the file that says so.
    """
    place.mkdir(parents=True, exist_ok=True)
    for file, one in _files(place):
        if one.space == process_space() and not _is_there(one, 0):
            file.unlink(missing_ok=True)
    own, left = place / f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}.json", Event()
    write_json(own, asdict(Present.here()))
    Thread(target=_keep_touching, args=(own, left), name="presence", daemon=True).start()
    try:
        yield own
    finally:
        left.set()
        own.unlink(missing_ok=True)


def others(place: Path, own: Path | None = None) -> list[Present]:
    """Return who else is at work; on other hosts, who was within the last minute.

    Args:
        place: the folder of such files.
        own: this process's, by whose touch the file system's own clock is read.
    """
    if own is not None:
        os.utime(own)
    now = time.time() if own is None else own.stat().st_mtime
    found = []
    for file, one in _files(place):
        with suppress(FileNotFoundError):  # it has just left
            if file != own and _is_there(one, now - file.stat().st_mtime):
                found.append(one)
    return found


def _files(place: Path) -> Iterator[tuple[Path, Present]]:
    """Read the files of all who are there, or were when they were killed."""
    for file in sorted(place.glob("*.json")):
        with suppress(FileNotFoundError, DamagedFile):  # it has just left
            content = read_json(file, PRESENCE)
            yield file, Present(**{name: content[name] for name in PRESENCE})


def _is_there(one: Present, age_s: float) -> bool:
    if one.space != process_space():
        return age_s < STALE_S
    with suppress(ValueError):  # of a time that is none
        return not is_gone(one.host, one.pid, one.time)
    return False


def _keep_touching(own: Path, left: Event) -> None:
    while not left.wait(TOUCH_S):
        with suppress(OSError):  # a disk that is away for a moment
            os.utime(own)
