"""Where the commands are, and where they leave their results."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna

from finesweep.system.places import config_folder

REPOSITORY = Path(__file__).parents[2]
NOOP = REPOSITORY / "benchmarks" / "noop.py"
FINESWEEP = str(Path(sys.executable).with_name("finesweep"))


def run_folder(root: Path) -> Path:
    """Return the only run folder under OUTPUTS."""
    (folder,) = (root / "outputs" / "runs").glob("*/*")
    return folder


def sweep_folder(root: Path) -> Path:
    """Return the only sweep folder under OUTPUTS."""
    (folder,) = (root / "outputs" / "sweeps").iterdir()
    return folder


def leaderboard(folder: Path) -> list[dict[str, str]]:
    """Return the rows of a sweep's leaderboard."""
    with (folder / "leaderboard.csv").open() as file:
        return list(csv.DictReader(file))


def trials_of(folder: Path, storage: str = "") -> list[optuna.trial.FrozenTrial]:
    """Return a sweep's trials from its storage: SQLite in its folder when none is named."""
    storage = storage or f"sqlite:///{folder / 'study.db'}"
    return optuna.load_study(study_name=folder.name, storage=storage).get_trials()


def states_of(folder: Path) -> list[str]:
    """Return the states of a sweep's trials in number order."""
    return [trial.state.name for trial in trials_of(folder)]


def wait_for(condition, process, output: Path, seconds: float = 120) -> None:
    """Wait until a condition holds; fail with the output if the process ends first or it takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, output.read_text()
        assert process.poll() is None, output.read_text()
        time.sleep(0.05)


def wait_until(condition: Callable[[], object], said: Callable[[], str], seconds: float = 180) -> None:
    """Wait until a condition holds; fail with what was said meanwhile if it takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, said()
        time.sleep(0.1)


def noop_words(folder: Path, n_trials: int, *words: str) -> list[str]:
    """Return the command of a sweep of trials that do nothing, with its study in a journal."""
    known = [f"hydra.searchpath=[file://{config_folder()}]", "hydra/sweeper=finesweep", "x=interval(0,1)"]
    known += ["hydra/sweeper/pruner=none", "hydra.sweeper.direction=minimize", "hydra.output_subdir=null"]
    known += [f"hydra.sweeper.folder={folder}", f"hydra.sweeper.n_trials={n_trials}"]
    known += ["hydra.sweeper.storage=journal", "hydra.sweeper.n_jobs=1"]
    return [sys.executable, str(NOOP), "-m", *known, *words]


def said_in(folder: Path) -> str:
    """Return what is in a folder's logs."""
    return "\n".join(file.read_text() for file in sorted(folder.glob("*.log")))
