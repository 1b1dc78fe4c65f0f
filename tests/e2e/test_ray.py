"""Sweeps whose workers Ray places: plain tasks, no Hydra launcher."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from commands import leaderboard, sweep_folder

pytestmark = [
    pytest.mark.scale,
    pytest.mark.skipif(
        subprocess.run([sys.executable, "-c", "import ray"], capture_output=True).returncode != 0,
        reason="Ray is missing: make test-scale installs it",
    ),
]


def test_tasks_of_ray_are_the_workers_of_a_sweep(call, words, tmp_path):
    placed = ["hydra/sweeper/pruner=none", "hydra.sweeper.n_jobs=2", "hydra.sweeper.detach=true"]
    opened = call("train.py", *words, "peft.r=2,4,8", "-m", *placed)
    assert opened.returncode == 0, opened.stderr
    folder = sweep_folder(tmp_path)
    script = call("finesweep", "work", str(folder), "--as", "ray").stdout
    assert "for _ in range(2)" in script
    # As its comment says, without GPUs; and this machine may have less than 8 cores.
    script = script.replace("num_gpus=1, num_cpus=4", "num_gpus=0, num_cpus=1")
    script = script.replace("ray.init()", "ray.init(num_cpus=2, include_dashboard=False)")
    (tmp_path / "work.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "work.py"], cwd=tmp_path, capture_output=True, text=True, timeout=400
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert said.count("best of 3 complete trials") == 1, said
    assert {row["state"] for row in leaderboard(folder)} == {"complete"}
    assert json.loads((folder / "status.json").read_text()) == {"state": "complete"}
