"""Which trial of a sweep is the best, as its folder says."""

from __future__ import annotations

import itertools
from pathlib import Path

from finesweep.errors import Fault, FinesweepError
from finesweep.runs.layout import RunFolder
from finesweep.system.records import damaged, read_rows
from finesweep.system.sweep_folder import SweepFolder

NONE_COMPLETE = "This sweep has no complete trial yet."


def best_row(sweep: SweepFolder) -> dict[str, str] | None:
    """Return the leaderboard's first row, which is the best trial's; None where no trial is complete.

    Raises:
        DamagedFile: there is no leaderboard, or it can't be read.
    """
    first = complete_rows(sweep, most=1)
    return first[0] if first else None


def complete_rows(sweep: SweepFolder, most: int | None = None) -> list[dict[str, str]]:
    """Return the leaderboard's rows of complete trials, which are its first, best first.

    Args:
        sweep: whose.
        most: read no more rows than that.

    Raises:
        DamagedFile: there is no leaderboard, or it can't be read.
    """
    rows = read_rows(sweep.leaderboard, ("number", "state"), most)
    for row in rows:
        if not row["number"].isdecimal():  # it becomes a part of a path
            raise damaged(sweep.leaderboard, f"damaged: a trial's number can't be {row['number'][:40]!r}")
    return list(itertools.takewhile(lambda row: row["state"] == "complete", rows))


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
        raise FinesweepError(Fault(str(path), NONE_COMPLETE))
    return final_folder(sweep, first["number"])


def top_trials(path: Path, count: int) -> dict[int, Path]:
    """Return the folders of a sweep's best complete trials by number, best first; of fewer all.

    Raises:
        FinesweepError: no sweep, or one without a complete trial.
    """
    sweep = SweepFolder(path)
    if not sweep.leaderboard.is_file():
        rule = "Only a finished sweep has several trials to average; this folder has no leaderboard."
        fix = "Name a sweep's folder, or leave --top out."
        raise FinesweepError(Fault("--top", rule, str(path), fix=fix))
    rows = complete_rows(sweep)[:count]
    if not rows:
        raise FinesweepError(Fault(str(path), NONE_COMPLETE))
    return {int(row["number"]): final_folder(sweep, row["number"]) for row in rows}


def final_folder(sweep: SweepFolder, number: int | str) -> Path:
    """Return the folder of a best trial that is tested, repeated and used: its own, unless it was packed."""
    alone = RunFolder(sweep.alone(number))
    return alone.path if alone.state() == "complete" else sweep.trial(number)
