"""Sweeps whose workers a real SLURM places, warns and ends."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from collections import Counter

import pytest

from commands import leaderboard, noop_words, said_in, sweep_folder, wait_until
from finesweep.runs.layout import RunFolder
from slurm_server import running_cluster, why_not

pytestmark = [pytest.mark.scale, pytest.mark.skipif(bool(why_not()), reason=f"no SLURM: {why_not()}")]

ADAPTER = "adapter/adapter_model.safetensors"
ONE_CORE = ("--gres=none", "--cpus-per-task=1")


@pytest.fixture(scope="module")
def cluster():
    """Return a SLURM of two nodes."""
    with running_cluster() as started:
        yield started


def test_what_a_time_limit_cuts_off_goes_on_in_the_queue_to_the_same_bits(
    call, words, finished, cluster, tmp_path
):
    steps = ["trainer.max_steps=600", "trainer.eval_steps=300"]
    kept = [word for word in words if not word.startswith(("trainer.max_steps", "trainer.eval_steps"))]
    detached = ["hydra/sweeper/pruner=none", "threads=1", "hydra.sweeper.detach=true", "-m"]
    opened = call("train.py", *kept, *steps, "peft.r=2,4", *detached)
    assert opened.returncode == 0, opened.stderr
    folder = sweep_folder(tmp_path)
    script = call("finesweep", "work", str(folder), "--as", "slurm").stdout

    job = cluster.sbatch(script, "--array=1-2", *ONE_CORE, cwd=tmp_path)
    metrics = folder / "trials/0/metrics.jsonl"
    wait_until(lambda: metrics.exists() and metrics.read_text().count("\n") > 20, lambda: said_in(tmp_path))
    cluster.cancel(job, "--batch", "--signal=USR1")  # as `--signal=B:USR1@180` does before the time is over
    wait_until(
        lambda: cluster.restarts(f"{job}_1") and cluster.restarts(f"{job}_2"), lambda: said_in(tmp_path)
    )
    assert len(list((folder / "trials/0/checkpoints").glob("checkpoint-*"))) == 1
    assert set(cluster.wait(job).values()) == {"COMPLETED"}, said_in(tmp_path)

    assert json.loads((folder / "status.json").read_text()) == {"state": "complete"}
    assert said_in(tmp_path).count("best of 2 complete trials") == 1
    assert [bool(row["test/accuracy"]) for row in leaderboard(folder)] == [True, False]
    result = finished(*steps, "peft.r=2")
    trial = RunFolder(folder / "trials/0")
    assert (trial.path / ADAPTER).read_bytes() == (result.folder / ADAPTER).read_bytes()


def test_an_array_ends_the_sweep_of_a_killed_controller_without_one_that_was_cancelled(cluster, tmp_path):
    study, log = tmp_path / "study", tmp_path / "log"
    sleeps = "sleeps=[0.2]"
    command = noop_words(study, 60, sleeps)
    environment = {**os.environ, "LOG": str(log)}
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=quiet, stderr=quiet) as controller:
        wait_until(lambda: log.exists() and log.read_text(), lambda: said_in(tmp_path))
        joined = shlex.join(noop_words(study, 60, sleeps, "hydra.sweeper.join=true"))
        script = f"#!/bin/bash\nexport LOG={log}\nexec {joined}\n"
        job = cluster.sbatch(script, "--array=1-6", "--output=worker-%a.log", cwd=tmp_path)
        second = tmp_path / "worker-2.log"
        wait_until(lambda: second.exists() and "  complete " in second.read_text(), lambda: said_in(tmp_path))
        controller.send_signal(signal.SIGKILL)
        cluster.cancel(f"{job}_2")
    ends = Counter(cluster.wait(job).values())
    assert ends == {"COMPLETED": 5, "CANCELLED": 1}, said_in(tmp_path)
    rows = leaderboard(study)
    assert sorted(int(row["number"]) for row in rows) == list(range(60))
    assert {row["state"] for row in rows} == {"complete"}
    assert len(log.read_text().splitlines()) == 60
    assert said_in(tmp_path).count("best of 60 complete trials") == 1
    assert json.loads((study / "status.json").read_text()) == {"state": "complete"}
