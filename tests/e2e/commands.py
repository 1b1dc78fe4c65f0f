"""Where the commands are, and where they leave their results."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna

REPOSITORY = Path(__file__).parents[2]
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
