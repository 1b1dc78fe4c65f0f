"""Sweeps whose workers submitit places, through Hydra's launcher for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from commands import leaderboard, noop_words, wait_until
from finesweep.system.processes import is_gone
from slurm_server import running_cluster, why_not

pytest.importorskip("submitit", reason="submitit is missing: make test-scale installs it")
pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="hydra-submitit-launcher is missing")
pytestmark = pytest.mark.scale

PLACED = ("hydra.sweeper.n_jobs=3", "hydra.launcher.timeout_min=10", "sleeps=[0.1]")


def run(folder: Path, *words: str, environment: dict[str, str] | None = None) -> str:
    """Run a sweep of 30 trials that do nothing; return what it said."""
    variables = {**os.environ, "LOG": str(folder / "log"), **(environment or {})}
    command = noop_words(folder / "study", 30, *PLACED, *words)
    done = subprocess.run(
        command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def check_whole(folder: Path, said: str) -> None:
    """Make sure that each of the 30 trials ran once, and that several processes had some."""
    assert said.count("best of 30 complete trials") == 1, said
    lines = (folder / "log").read_text().splitlines()
    assert len(lines) == 30
    assert len({line.split()[0] for line in lines}) > 1
    assert {row["state"] for row in leaderboard(folder / "study")} == {"complete"}
    assert json.loads((folder / "study/status.json").read_text()) == {"state": "complete"}


@pytest.mark.skipif(bool(why_not()), reason=f"no SLURM: {why_not()}")
def test_jobs_of_a_slurm_are_the_workers_of_a_sweep(tmp_path):
    with running_cluster() as cluster:
        partition = ("hydra/launcher=submitit_slurm", "hydra.launcher.partition=main")
        check_whole(tmp_path, run(tmp_path, *partition, environment=cluster.environment))


@pytest.fixture
def start_locally(tmp_path):
    """Return a function that starts such a sweep with local processes, and waits until they work."""
    controllers = []

    def start(*words: str) -> tuple[subprocess.Popen, list[tuple[str, int]]]:
        command = noop_words(tmp_path / "study", 30, *PLACED, "hydra/launcher=submitit_local", *words)
        variables = {**os.environ, "LOG": str(tmp_path / "log")}
        with (tmp_path / "said.txt").open("w") as said:
            controllers.append(
                subprocess.Popen(command, cwd=tmp_path, env=variables, stdout=said, stderr=said)
            )
        wait_until(lambda: len(workers_of(tmp_path / "study")) == 3, (tmp_path / "said.txt").read_text)
        return controllers[0], workers_of(tmp_path / "study")

    yield start
    for controller in controllers:
        controller.kill()  # and with it its workers
        controller.wait()


def test_workers_of_this_machine_end_with_their_controller(start_locally):
    controller, workers = start_locally("sleeps=[30]")
    controller.send_signal(signal.SIGTERM)
    assert controller.wait(timeout=60) != 0
    wait_until(lambda: all(is_gone(host, pid) for host, pid in workers), lambda: str(workers), seconds=30)


def test_a_killed_worker_does_not_end_the_sweep(start_locally, tmp_path):
    controller, workers = start_locally("sleeps=[0.3]")
    wait_until(lambda: (tmp_path / "log").exists(), (tmp_path / "said.txt").read_text)
    os.kill(workers[0][1], signal.SIGKILL)
    assert controller.wait(timeout=120) == 0, (tmp_path / "said.txt").read_text()
    check_whole(tmp_path, (tmp_path / "said.txt").read_text())


def workers_of(folder: Path) -> list[tuple[str, int]]:
    """Return host and process of all who are at work, but the controller, which came first."""
    found = [json.loads(file.read_text()) for file in (folder / "present").glob("*.json")]
    return [(one["host"], one["pid"]) for one in sorted(found, key=lambda one: one["time"])[1:]]
