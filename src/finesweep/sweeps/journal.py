"""Optuna's journal as a sweep's storage: a file of which the processes of several hosts write the end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, TYPE_CHECKING

from finesweep.system.locks import BackoffLock
from finesweep.system.sweep_folder import SweepFolder

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


def open_journal(files: SweepFolder) -> BaseStorage:
    """Open the journal in a sweep's folder, or begin it."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    lock = WholeLines(files.journal, BackoffLock(files.journal_lock))
    return JournalStorage(JournalFileBackend(str(files.journal), lock))  # type: ignore[arg-type]  # its two calls


class WholeLines:
    """A lock as Optuna's journal takes one, under which the file has no torn last line.

    The system takes it from who dies; Optuna's own is taken away from who is slow.

    Args:
        file: the journal.
        lock: held while somebody writes.
    """

    def __init__(self, file: Path, lock: BackoffLock) -> None:
        self._file, self._lock = file, lock

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._lock.__enter__()
        cut_torn_line(self._file)
        return True

    def release(self) -> None:
        """Give it back."""
        self._lock.__exit__()


def cut_torn_line(file: Path) -> None:
    """Cut off the line that a process was killed in, or found the disk full: nobody has acted on it.

    The next one would be written onto its end, and make the whole study unreadable.
    """
    with file.open("rb+") as journal:
        end = journal.seek(0, os.SEEK_END)
        whole = end
        while whole and not _ends_line(journal, whole):
            whole -= 1
        if whole != end:
            journal.truncate(whole)


def _ends_line(journal: IO[bytes], place: int) -> bool:
    journal.seek(place - 1)
    return journal.read(1) == b"\n"
