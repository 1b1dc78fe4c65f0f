"""Workers that join a sweep from anywhere: trials that do nothing, by processes of their own."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest

from finesweep.runs.layout import RunFolder
from finesweep.system.places import config_folder

NOOP = Path(__file__).parents[2] / "benchmarks" / "noop.py"
JOIN, DETACH = "hydra.sweeper.join=true", "hydra.sweeper.detach=true"


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a call of a sweep of 24 trials that do nothing."""
    processes = []

    def popen(*words: str, n_trials: int = 24) -> subprocess.Popen:
        known = [f"hydra.searchpath=[file://{config_folder()}]", "hydra/sweeper=finesweep", "x=interval(0,1)"]
        known += ["hydra/sweeper/pruner=none", "hydra.sweeper.direction=minimize", "hydra.output_subdir=null"]
        known += ["hydra.sweeper.n_jobs=1", f"hydra.sweeper.n_trials={n_trials}"]
        known += [f"hydra.sweeper.folder={tmp_path / 'study'}"]
        process = subprocess.Popen(
            [sys.executable, str(NOOP), "-m", *known, *words],
            cwd=tmp_path,
            env={**os.environ, "LOG": str(tmp_path / "log")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        processes.append(process)
        return process

    yield popen
    for process in processes:
        process.kill()
        process.communicate()


def states(folder: Path, storage: str = "") -> Counter:
    study = optuna.load_study(study_name="study", storage=storage or f"sqlite:///{folder / 'study/study.db'}")
    assert [trial.number for trial in study.trials] == list(range(len(study.trials)))
    return Counter(trial.state.name for trial in study.trials)


def status(folder: Path) -> dict:
    return json.loads((folder / "study/status.json").read_text())


def runs(folder: Path) -> list[str]:
    """Return the process of each job that ran to its end."""
    return [line.split()[0] for line in (folder / "log").read_text().splitlines()]


def test_three_that_start_at_once_do_each_trial_once_and_one_of_them_ends_the_sweep(start, tmp_path):
    workers = [start(JOIN, "sleeps=[0.05]", "hydra.sweeper.storage=journal") for _ in range(3)]
    said = [worker.communicate(timeout=300)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0], said
    assert (tmp_path / "study/study.journal").is_file()
    assert len(runs(tmp_path)) == 24
    assert sum("best of 24 complete trials" in one for one in said) == 1, said
    with (tmp_path / "study/leaderboard.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 24
    assert status(tmp_path) == {"state": "complete"}
    assert list((tmp_path / "study/present").iterdir()) == []
