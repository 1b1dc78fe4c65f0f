"""Which trial of a sweep is the best, as its folder says."""

from __future__ import annotations

from pathlib import Path

from finesweep.errors import Fault, FinesweepError
from finesweep.runs.layout import RunFolder
from finesweep.system.records import damaged, read_first_row
from finesweep.system.sweep_folder import SweepFolder


def best_row(sweep: SweepFolder) -> dict[str, str] | None:
    """Return the leaderboard's first row, which is the best trial's; None where no trial is complete.

    Raises:
        DamagedFile: there is no leaderboard, or it can't be read.
    """
    first = read_first_row(sweep.leaderboard, ("number", "state"))
    if first and not first["number"].isdecimal():  # it becomes a part of a path
        raise damaged(sweep.leaderboard, f"damaged: a trial's number can't be {first['number'][:40]!r}")
    return first if first and first["state"] == "complete" else None


def best_trial(path: Path) -> Path:
    """Return the folder of a sweep's best complete trial; any other path as it is.

    Raises:
        FinesweepError: a sweep without a complete trial.
    """
    sweep = SweepFolder(path)
    if not sweep.leaderboard.is_file():
        return path
    first = best_row(sweep)
    if first is None:
        raise FinesweepError(Fault(str(path), "This sweep has no complete trial yet."))
    return final_folder(sweep, first["number"])


def final_folder(sweep: SweepFolder, number: int | str) -> Path:
    """Return the folder of a best trial that is tested, repeated and used: its own, unless it was packed."""
    alone = RunFolder(sweep.alone(number))
    return alone.path if alone.state() == "complete" else sweep.trial(number)
