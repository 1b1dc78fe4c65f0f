"""Every file of sweeps/ searches two trials: minutes, so `make test-matrix` asks for it by name."""

import csv
import subprocess
import sys

import pytest
from contract import METHODS, SMALL
from test_runs import SWEEPS


@pytest.mark.parametrize("name", SWEEPS)
def test_every_search_space_is_searched(name, tiny_overrides, tmp_path):
    method = [f"peft={name}", *SMALL.get(name, [])] if name in METHODS else []
    words = [*tiny_overrides, *method, f"sweeps={name}", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=1"]
    command = [sys.executable, "-m", "finesweep", "train", "-m", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = list(csv.DictReader((tmp_path / "outputs/sweeps/tiny/leaderboard.csv").open()))
    assert len(rows) == 2
    assert {row["state"] for row in rows} <= {"complete", "pruned"}
