"""Trackers where several processes use them: a sweep's workers, and W&B's own agent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from commands import REPOSITORY, sweep_folder
from composing import compose_config
from finesweep.config.diagnosis import fault_of_key
from wandb_server import KEY
from wandb_sweep_server import SWEEP, WandbSweepServer

FILE = REPOSITORY / "sweeps" / "wandb-sweep.yaml"
BIN = Path(sys.executable).parent


@pytest.mark.campaign
def test_a_sweep_s_trials_are_grouped_in_each_of_several_trackers(tmp_path, tiny_overrides):
    from mlflow.tracking import MlflowClient  # 2 s, of which every run of the tests would have its share

    words = [w for w in tiny_overrides if not w.startswith(("tracker", "output_dir", "name"))]
    words += ["-m", "name=study", "peft.r=2,4", "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=2"]

    def sweep(tracker: str) -> None:
        command = [sys.executable, str(REPOSITORY / "train.py"), *words, tracker]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    sweep("tracker=[mlflow,tensorboard]")
    folder = sweep_folder(tmp_path)
    assert len([*folder.glob("trials/*/tensorboard/events*")]) == 2
    client = MlflowClient(f"sqlite:///{tmp_path / 'outputs' / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'finesweep'")
    runs = client.search_runs([experiment.experiment_id])
    assert {(r.data.tags["group"], r.data.tags["job_type"]) for r in runs} == {("study", "trial")}
    assert {r.data.params["peft.r"] for r in runs} == {"2", "4"}
    assert {r.info.status for r in runs} == {"FINISHED"}
    sweep("tracker=none")  # who watches is no part of a sweep's identity


@pytest.mark.campaign
def test_w_and_b_s_agent_runs_the_sweep_file_and_the_run_is_its_own(tmp_path, tiny_overrides):
    """The command and the server's side of the protocol are real; the server is a stand-in."""
    file = yaml.safe_load(FILE.read_text())
    words = [w for w in tiny_overrides if not w.startswith("tracker")]
    short = tmp_path / "sweep.yaml"
    short.write_text(yaml.safe_dump({**file, "command": [*file["command"], *words]}))
    values = {"peft.r": 4, "trainer.learning_rate": 0.00123}
    with WandbSweepServer(values, run_id="abcd1234") as server:
        own = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY, "WANDB_DIR": str(tmp_path)}
        environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")} | own
        environment["PATH"] = f"{BIN}:{environment['PATH']}"

        def call(*words: str) -> None:
            command = [str(BIN / "wandb"), *words]
            options = {"env": environment, "cwd": REPOSITORY, "capture_output": True, "text": True}
            done = subprocess.run(command, timeout=120, **options)
            assert done.returncode == 0, done.stderr

        call("sweep", "--entity", "tester", str(short))
        assert server.sweep["parameters"] == file["parameters"]
        call("agent", f"tester/finesweep/{SWEEP}")
        assert server.wait_for_exit() == 0
    sent = server.runs[0]
    assert (sent["name"], sent["sweep"]) == ("abcd1234", SWEEP)
    (folder,) = (tmp_path / "outputs/runs/tiny").iterdir()
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert (config["peft"]["r"], config["trainer"]["learning_rate"], config["test"]) == (4, 0.00123, False)
    assert file["metric"]["name"] in {name for row in server.history for name in row}


@pytest.mark.parametrize("name", yaml.safe_load(FILE.read_text())["parameters"])
def test_each_parameter_of_the_w_and_b_sweep_is_a_key_of_ours(name):
    assert fault_of_key(name, compose_config(), {}, "") is None


@pytest.mark.parametrize("multirun", [[], ["-m"]])
@pytest.mark.often("multirun0")
def test_the_w_and_b_sweep_is_no_choice_of_ours(multirun, tmp_path):
    command = [sys.executable, str(REPOSITORY / "train.py"), *multirun]
    done = subprocess.run([*command, "sweeps=wandb-sweep"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "wandb sweep sweeps/wandb-sweep.yaml" in done.stderr
    listed = subprocess.run([*command, "--help"], cwd=tmp_path, capture_output=True, text=True).stdout
    assert "sweeps: adalora" in listed
    assert "wandb-sweep" not in listed
