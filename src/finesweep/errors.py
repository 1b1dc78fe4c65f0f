"""What went wrong, in words a user can act on."""

from __future__ import annotations

import difflib
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from finesweep.system.redaction import redact, shown


class _Unset(Enum):
    """What stands for no value; the same in every process that a fault is sent to."""

    UNSET = "unset"


UNSET = _Unset.UNSET


@dataclass(frozen=True)
class Fault:
    """One mistake: where it is, the rule it breaks, and the way out; as a text it holds no secret.

    Args:
        where: the full config key or the file.
        rule: the rule that was broken, as a sentence.
        value: what was received; left out of the message when not given.
        source: the file or command line that the value came from.
        valid: what would have been accepted.
        fix: what to do next, as a command or a sentence.
    """

    where: str
    rule: str
    value: object = UNSET
    source: str = ""
    valid: tuple[str, ...] = ()
    fix: str = ""

    def __str__(self) -> str:
        head = (
            self.where if self.value is UNSET else f"{self.where} = {_shown(shown(self.where, self.value))}"
        )
        lines = [f"{head}  ({self.source})" if self.source else head, f"  {self.rule}"]
        if self.valid:
            lines.append(f"  Valid: {_listed(self.valid)}")
        if self.fix:
            lines.append(f"  {self.fix}")
        return redact("\n".join(lines))


class FinesweepError(ValueError):
    """A user's mistake, or a condition outside the program; never shown with a traceback.

    Args:
        faults: every mistake found, so that all can be mended at once.
    """

    exit_code = 1

    def __init__(self, *faults: Fault) -> None:
        assert faults
        self.faults = faults
        super().__init__("\n".join(str(fault) for fault in faults))

    def _render_traceback_(self) -> list[str]:
        """Show a notebook the message alone, as the command line does."""
        return [f"finesweep: {fault}" for fault in self.faults]

    def __reduce__(self):
        return type(self), self.faults


class ConfigError(FinesweepError):
    """The composed config can't be run; nothing was started."""

    exit_code = 2


class DataError(FinesweepError):
    """The data doesn't have what the config asks of it."""


class ForeignError(FinesweepError):
    """Code of the user's own, which a config names, raised."""


class TrainingError(FinesweepError):
    """Training can't go on: a loss that is not finite, a full disk."""


class MachineFault(FinesweepError):
    """The machine can't go on, and no trial is to blame: a sweep stops and can be resumed later."""


class DiskFull(MachineFault, TrainingError):
    """There is no space left to save something."""


class StorageLost(MachineFault):
    """The study's storage is away, and didn't come back in time."""


class StudyGone(StorageLost):
    """The study's file is gone, or damaged."""


class RunTakenOver(Exception):
    """Another process goes on with this run: stop, and write nothing more into its folder."""


class Interrupted(BaseException):
    """SIGTERM or Ctrl-C, raised in the main thread so that folders and trackers close.

    Args:
        signal_number: the signal; the exit code is 128 plus it.
    """

    def __init__(self, signal_number: int) -> None:
        self.signal_number = signal_number
        super().__init__(f"signal {signal_number}")

    def _render_traceback_(self) -> list[str]:
        """Show a notebook no frames: what is saved has been said."""
        return [f"finesweep: stopped by {signal.Signals(self.signal_number).name}"]


class TrialsLeft(SystemExit):
    """A worker that has joined a sweep ends before the sweep does; a batch system starts it again."""

    def __init__(self) -> None:
        super().__init__(75)  # EX_TEMPFAIL, of sysexits.h


def nearest(word: str, candidates: Iterable[str], cutoff: float = 0.5) -> str:
    """Say "Did you mean `x`?" for the candidate closest to `word`, or nothing when none is close.

    Of several that are close, one with the same letters is meant: `lroa` is lora and not road.
    """
    by_lower, word = {str(candidate).lower(): str(candidate) for candidate in candidates}, str(word).lower()
    close = difflib.get_close_matches(word, by_lower, cutoff=cutoff)
    close.sort(key=lambda candidate: sorted(candidate) != sorted(word))
    return f"Did you mean `{by_lower[close[0]]}`?" if close else ""


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str) and (not value or value != value.strip()) else str(value)
    return text if len(text) <= 120 else text[:117] + "..."


def _listed(names: tuple[str, ...], limit: int = 12) -> str:
    more = f", and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
