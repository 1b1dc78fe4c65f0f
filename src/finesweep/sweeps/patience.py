"""A study's storage that is away for a moment is waited for; one that is gone is no use waiting for."""

from __future__ import annotations

import functools
import logging
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from finesweep.errors import DiskFull, Fault, MachineFault, StorageLost, StudyGone
from finesweep.system.files import chain_of, disk_full_error
from finesweep.system.redaction import redact
from finesweep.system.signals import stop_requested
from finesweep.system.sweep_folder import SweepFolder

T = TypeVar("T")

logger = logging.getLogger(__name__)

LONGEST_AWAY_S = 60.0
# A server that has too many connections serves others meanwhile: their turn ends, as many times later.
CROWDED_TIMES = 5
CROWDED = ("too many clients", "remaining connection slots", "too many connections")
SHORTEST_WAIT_S, LONGEST_WAIT_S, GLANCE_S = 0.5, 8.0, 0.2
FAULT_CODES: dict[int, type[MachineFault]] = {72: DiskFull, 73: StudyGone, 74: StorageLost}
STORAGE = "hydra.sweeper.storage"


class PatientStorage:
    """An Optuna storage whose calls are repeated for a while when its database is away: restarted, say.

    A call whose answer was lost on the way may have been carried out. That does no harm: a trial that was
    made and never heard of is queued again when its lease has run out; one that was ended has ended.

    Args:
        storage: as Optuna uses it.
        folder: the sweep's, whose disk may be full.
        longest_away_s: how long it is waited for.
        shortest_wait_s: before the first repetition; it doubles from there.
    """

    def __init__(
        self,
        storage: Any,
        folder: Path,
        *,
        longest_away_s: float = LONGEST_AWAY_S,
        shortest_wait_s: float = SHORTEST_WAIT_S,
    ) -> None:
        self._storage, self._folder = storage, folder
        self._longest_away_s, self._shortest_wait_s = longest_away_s, shortest_wait_s
        self._is_away = False
        self._is_hurried = False
        self._chance = random.Random()  # Python's own is a trial's, which has seeded it

    def hurry(self) -> None:
        """Wait no more, not even in a call that waits now: whoever asks has been told to stop."""
        self._is_hurried = True

    def __getattr__(self, name: str) -> Any:
        """Return the storage's own, and of what can be called a patient one."""
        if name in ("_storage", "_folder"):  # while it is being copied
            raise AttributeError(name)
        member = getattr(self._storage, name)
        return functools.partial(self._call, member) if callable(member) else member

    def _call(self, method: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        began, wait, has_waited = time.monotonic(), self._shortest_wait_s, False
        while True:
            try:
                result = method(*arguments, **keywords)
            except Exception as error:
                found = fault_of_storage(error, self._folder)
                if found is None:
                    raise
                rule = found.faults[0].rule
                longest = self._longest_away_s * (CROWDED_TIMES if is_crowded(rule) else 1)
                is_late = time.monotonic() - began > longest or self._is_told_to_stop()
                # Once it has been away for too long nobody waits for it again, on the way out.
                if type(found) is not StorageLost or is_late or self._is_away:
                    self._is_away = True
                    raise found from error
                if not has_waited:
                    logger.warning("%s Waiting for it, for %.0f s at most.", rule, longest)
            else:
                if has_waited:
                    logger.warning("The study's storage is back.")
                self._is_away = False
                return result
            self._pause(self._chance.uniform(0.5, 1.5) * wait)  # or all who were refused come back at once
            has_waited, wait = True, min(2 * wait, LONGEST_WAIT_S)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._is_told_to_stop():
            time.sleep(min(left, GLANCE_S))

    def _is_told_to_stop(self) -> bool:
        """Whether to wait no more; a lease is renewed, in its thread, until training has saved its state."""
        is_main = threading.current_thread() is threading.main_thread()
        return self._is_hurried or (is_main and stop_requested() is not None)


def patiently(call: Callable[[], T], folder: Path) -> T:
    """Open a study, say, and wait for its storage as PatientStorage does.

    Raises:
        MachineFault: it is away for too long, or gone.
    """
    return PatientStorage(None, folder)._call(call)


def is_crowded(text: str) -> bool:
    """Say whether a server's refusal is that it has too many connections already."""
    return any(words in text.lower() for words in CROWDED)


def fault_of_storage(error: BaseException, folder: Path) -> MachineFault | None:
    """Recognise a database that can't be reached or read behind an error; a full disk under it too.

    Args:
        error: raised by a storage.
        folder: the sweep's.
    """
    from sqlalchemy.exc import DBAPIError

    links = chain_of(error)
    for link in links:
        if isinstance(link, MachineFault):
            return link
        if isinstance(link, FileNotFoundError) and link.filename == str(SweepFolder(folder).journal):
            return gone(SweepFolder(folder).journal)
    # The nearest: Optuna looks a study up when it can't make it, and a refusal then has that behind it.
    cause = next((link for link in links if isinstance(link, DBAPIError)), None)
    if cause is None:
        return None
    origin = cause.orig
    text = redact(str(origin).strip().splitlines()[0] if str(origin).strip() else type(origin).__name__)
    kind = type(cause).__name__
    if not type(origin).__module__.startswith("sqlite3"):
        is_away = cause.connection_invalidated or kind in ("OperationalError", "InterfaceError")
        return StorageLost(Fault(STORAGE, f"The study's storage is away: {text}.")) if is_away else None
    if full := disk_full_error(error, folder):
        return full
    if "locked" in text:
        return StorageLost(Fault(STORAGE, f"The study's storage is busy: {text}."))
    if kind in ("OperationalError", "DatabaseError"):
        return StudyGone(Fault(STORAGE, f"The study can't be read or written any more: {text}."))
    return None


def fault_of_machine(error: BaseException, folder: Path) -> MachineFault | None:
    """Recognise behind an error, wherever it was raised, what is the machine's fault and no trial's."""
    known = next((link for link in chain_of(error) if isinstance(link, MachineFault)), None)
    return known or disk_full_error(error, folder)


def code_of(fault: MachineFault) -> int:
    """Return the exit code by which a worker tells its controller of a fault."""
    return next(code for code, kind in FAULT_CODES.items() if isinstance(fault, kind))


def gone(file: Path) -> StudyGone:
    """Say of a study's file that it isn't there any more, or isn't the one that was opened."""
    what = "was put in another's place" if file.exists() else "is gone"
    rule = f"{file.name} {what} while the sweep ran; what it held is lost with it."
    return StudyGone(Fault(str(file), rule))


class StudyFile:
    """The file that a study is in, to notice when it is taken away: who has it open could go on for hours.

    Args:
        storage: an Optuna storage; what isn't in a file of one's own, SQLite or a journal, is never missed.
        folder: the sweep's, where its journal is.
    """

    def __init__(self, storage: Any, folder: Path) -> None:
        journal = SweepFolder(folder).journal
        url = getattr(getattr(storage, "engine", None), "url", None)
        name = url.database if url is not None and url.get_backend_name() == "sqlite" else None
        self._path = Path(name).absolute() if name and name != ":memory:" else None
        if url is None and journal.is_file():
            self._path = journal
        self._identity = self._look()

    def check(self) -> None:
        """Make sure that the file is there, and the one that was opened.

        Raises:
            StudyGone: it isn't.
        """
        if self._path and self._look() != self._identity:
            raise gone(self._path)

    def _look(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat() if self._path else None
        except FileNotFoundError:
            return None
        return (found.st_dev, found.st_ino) if found else None
