"""`finesweep ls` and `finesweep clean`: what is under an output folder, and what of it can go."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from finesweep.errors import Fault, FinesweepError
from finesweep.runs.layout import NO_FOLDER, RunFolder
from finesweep.runs.leaderboard import best_row, final_folder
from finesweep.runs.outcome import with_half_width
from finesweep.system.console import size_text
from finesweep.system.paths import relative_to_here
from finesweep.system.records import RESULT, DamagedFile, damaged, read_json
from finesweep.system.sweep_folder import SweepFolder
from finesweep.system.tables import aligned
from finesweep.system.terminal import visible

RUN, SWEEP = RunFolder(Path()), SweepFolder(Path())
# A folder with two of them is a run's or a sweep's.
MARKS = {file.name for file in (RUN.status, RUN.config, RUN.provenance, RUN.labels, RUN.result,
                                SWEEP.manifest, SWEEP.leaderboard, SWEEP.study)}  # fmt: skip
FINISHED = ("complete", "pruned")
UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


@dataclass(frozen=True)
class Listed:
    """A run or a sweep.

    Args:
        kind: `run` or `sweep`.
        state: as in status.json.
        objective: the metric that counts and its value; of a sweep, its best trial's.
        age_s: seconds since its state last changed.
        bytes: size of all its files, links not followed.
        folder: its place.
        fault: which of its files is damaged, and what helps.
    """

    kind: str
    state: str
    objective: str
    age_s: float
    bytes: int
    folder: str
    fault: str = ""


def entries(path: Path) -> list[Listed]:
    """Return the runs and sweeps under a folder, the newest last; a sweep's trials where it is the folder.

    Raises:
        FinesweepError: no such folder.
    """
    if not path.is_dir():
        fix = "Runs and sweeps are under outputs/ where they were started."
        raise FinesweepError(Fault(str(path), NO_FOLDER, fix=fix))
    found = []
    for folder in folders(path, inside=path):
        with suppress(FileNotFoundError):  # removed meanwhile
            found.append(_entry(folder))
    return sorted(found, key=lambda entry: -entry.age_s)


def show(found: Sequence[Listed], *, as_json: bool = False) -> None:
    """Print entries as a table, or as JSON."""
    if as_json:
        print(json.dumps([asdict(entry) for entry in found], indent=1))
        return
    rows = [("", "state", "objective", "age", "size", "folder")]
    rows += [
        (
            entry.kind,
            entry.state,
            entry.objective,
            age_text(entry.age_s),
            size_text(entry.bytes),
            entry.folder,
        )
        for entry in found
    ]
    for line in aligned(rows) if found else []:
        print(line)
    for entry in found:
        if entry.fault:
            print(visible(f"\n{entry.fault}"))
    if not found:
        print("No runs and no sweeps here.")


def checkpoints(path: Path) -> list[Path]:
    """Return the checkpoint folders of finished runs and trials, whose results don't need them.

    Raises:
        FinesweepError: no such folder.
    """
    if not path.is_dir():
        raise FinesweepError(Fault(str(path), NO_FOLDER))
    runs = [folder for folder in folders(path, trials=True) if not SweepFolder(folder).manifest.is_file()]
    places = [RunFolder(folder).checkpoints for folder in runs if RunFolder(folder).state() in FINISHED]
    return [place for place in places if place.is_dir() and not place.is_symlink()]


def clean(path: Path, ask: Callable[[], object] | None = None) -> None:
    """Remove the checkpoints of finished runs and trials, and say what became free.

    Args:
        path: where the runs are.
        ask: called before anything is removed; may raise.

    Raises:
        FinesweepError: no such folder.
    """
    found = checkpoints(path)
    size = size_text(sum(map(size_of, found)))
    if not found:
        print("There are no checkpoints of finished runs here.")
        return
    runs = "1 finished run has" if len(found) == 1 else f"{len(found)} finished runs have"
    print(f"{runs} checkpoints: {size}.")
    if ask:
        ask()
    _remove(found)
    print(f"Removed; {size} are free.")


def clean_as_json(path: Path, *, yes: bool) -> None:
    """Print which checkpoints there are, as JSON, and remove them if the answer is yes.

    Raises:
        FinesweepError: no such folder.
    """
    found = checkpoints(path)
    size = sum(map(size_of, found))
    if yes:
        _remove(found)
    print(json.dumps({"checkpoints": list(map(str, found)), "bytes": size, "removed": yes}, indent=1))


def _remove(folders: Sequence[Path]) -> None:
    for folder in folders:
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:  # somebody else was faster
            continue
        except OSError as error:
            rule = f"It can't be removed: {error.strerror}."
            raise FinesweepError(Fault(str(folder), rule, fix="Change its permissions.")) from error


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder, links not followed."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # a running run replaces its files
                total += os.lstat(os.path.join(place, name)).st_size
    return total


def age_text(seconds: float) -> str:
    """Return "3 h": one number and its unit."""
    length, unit = next((pair for pair in UNITS if seconds >= pair[0]), UNITS[-1])
    return f"{int(seconds // length)} {unit}"


def folders(path: Path, *, inside: Path | None = None, trials: bool = False) -> Iterator[Path]:
    """Yield the folders of runs and sweeps; one of their files may be missing.

    Args:
        path: where they are.
        inside: a sweep whose trials are wanted.
        trials: whether those of all sweeps are.
    """
    for place, names, files in os.walk(path):
        if len(MARKS.intersection(files)) > 1:
            folder = Path(place)
            opened = SweepFolder(folder).is_there and (trials or folder == inside)
            names[:] = [name for name in names if opened and name == SWEEP.trials.name]
            yield folder


def _entry(folder: Path) -> Listed:
    run, sweep, objective, fault = RunFolder(folder), SweepFolder(folder), "", ""
    of_sweep = sweep.is_there
    changed = run.status if run.status.is_file() else folder
    try:
        state = run.sound_state()
        needed = sweep.manifest if of_sweep else run.config
        if not needed.is_file():
            raise damaged(needed, "missing")
        objective = _best(sweep, state) if of_sweep else _reached(run, state)
    except DamagedFile as error:
        state, fault = "damaged", str(error)
    return Listed(
        kind="sweep" if of_sweep else "run",
        state=state,
        objective=objective,
        age_s=round(time.time() - changed.stat().st_mtime, 1),
        bytes=size_of(folder),
        folder=str(relative_to_here(folder.absolute())),
        fault=fault,
    )


def _reached(run: RunFolder, state: str = "") -> str:
    file = run.result
    if not file.is_file() and state != "complete":
        return ""
    result = read_json(file, RESULT)
    objective, metric = result["objective"], result["objective"]["metric"]
    if objective["value"] is None:
        return ""
    return with_half_width(f"{metric} {objective['value']:.4f}", result, metric)


def _best(sweep: SweepFolder, state: str) -> str:
    """Return the first objective of the best trial; nothing where no trial is complete."""
    if not sweep.leaderboard.is_file() and state != "complete":
        return ""
    first = best_row(sweep)
    if first is None:
        if state == "complete":
            raise damaged(sweep.leaderboard, "damaged: no complete trial stands first")
        return ""
    run = RunFolder(final_folder(sweep, first["number"]))
    return _reached(run, run.state()) or f"{list(first)[2]} {float(list(first.values())[2]):.4f}"
