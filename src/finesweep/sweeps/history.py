"""Earlier sweeps, as far as they say which points did well: tables are read, and nothing is run."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from finesweep.errors import ConfigError, Fault
from finesweep.runs.features import Features, read_features
from finesweep.runs.layout import RunFolder
from finesweep.runs.leaderboard import complete_rows
from finesweep.sweeps.results import LUCK
from finesweep.system.records import damaged
from finesweep.system.sweep_folder import SweepFolder

MOST_SWEEPS = 200  # the newest ones; a table takes some milliseconds
MOST_BYTES = 20_000_000  # of a file: a leaderboard of 10,000 trials has 5 MB
FRONT = "front"  # a column of sweeps that have no best trial


@dataclass(frozen=True)
class Finished:
    """What an earlier sweep, or a table of trials, found.

    Args:
        name: its folder's.
        features: of its data, model and method.
        points: of its complete trials on the axes that were asked for, as they are written, best first.
    """

    name: str
    features: Features
    points: tuple[dict[str, str], ...]


def sweeps_in(folders: Sequence[Path]) -> list[Path]:
    """Return the sweeps' folders among some folders and right in them, the newest first.

    Raises:
        ConfigError: a folder isn't there.
    """
    for i, folder in enumerate(folders):
        if not folder.is_dir():
            fix = "It names sweeps' folders, or folders of them; or say auto, or none."
            raise ConfigError(
                Fault(f"hydra.sweeper.memory[{i}]", "There is no such folder.", str(folder), fix=fix)
            )
    found = [place for folder in folders for place in _around(folder)]
    return sorted(dict.fromkeys(found), key=lambda place: -place.stat().st_mtime)[:MOST_SWEEPS]


def _around(folder: Path) -> Iterator[Path]:
    if SweepFolder(folder).leaderboard.is_file():
        yield folder
        return
    yield from (place for place in folder.iterdir() if SweepFolder(place).leaderboard.is_file())


def read_finished(folder: Path, keys: Collection[str]) -> Finished | None:
    """Read what a sweep found; None where it isn't finished, searched other axes, or has no best trial.

    Only its leaderboard, its status and its best trial's provenance are opened.

    Args:
        folder: the sweep's.
        keys: of axes.

    Raises:
        DamagedFile: one of these files is missing, or isn't what it was.
    """
    sweep = SweepFolder(folder)
    if RunFolder(folder).state() != "complete":
        return None
    _check_file(sweep.leaderboard)
    rows = complete_rows(sweep)
    shared = [key for key in keys if rows and key in rows[0] and key not in LUCK]
    if not shared or FRONT in rows[0]:
        return None
    provenance = RunFolder(sweep.trial(rows[0]["number"])).provenance
    _check_file(provenance)
    points = tuple({key: row[key] or "" for key in shared} for row in rows)
    return Finished(folder.name, read_features(provenance), points)


def _check_file(file: Path) -> None:
    """Refuse what isn't a file, or would fill the memory: it may be a stranger's."""
    if file.exists() and not file.is_file():
        raise damaged(file, "damaged: it is no file")
    if file.is_file() and file.stat().st_size > MOST_BYTES:
        raise damaged(file, f"damaged: it has more than {MOST_BYTES:,} bytes")
