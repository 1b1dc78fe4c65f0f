"""Runs and trials of two processes, under `accelerate launch`, on this machine's CPU."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tiny import make_model

REPOSITORY = Path(__file__).parents[2]
LAUNCH = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch"]
TWO = [*LAUNCH, "--num_processes", "2", "--cpu"]


@pytest.fixture(scope="module")
def overrides(tmp_path_factory, tiny_csv_text):
    """Return the overrides of a tiny run without dropout."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "tiny.csv").write_text(tiny_csv_text)
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = make_model(folder / "model", "bert", **dropout)
    return [
        "data=csv", f"data.source.train={folder / 'tiny.csv'}", f"model.name={model}", "peft.lora_dropout=0",
        "tokenizer.max_length=16", "trainer.max_steps=9", "trainer.eval_steps=3",
        "trainer.learning_rate=0.01", "tracker=none", "name=two", f"output_dir={folder / 'outputs'}",
    ]  # fmt: skip


def start(*words, launcher=TWO, **options) -> subprocess.Popen:
    command = [*launcher, str(REPOSITORY / "train.py"), *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, start_new_session=True, **{**pipes, **options})


def finish(process, timeout=180):
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def folder_in(tmp_path) -> Path:
    (folder,) = (tmp_path / "outputs" / "runs" / "two").iterdir()
    return folder


def lines_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


# What `accelerate config` asks for, as it writes it down.
ACCELERATE_CONFIG = """
compute_environment: LOCAL_MACHINE
distributed_type: MULTI_CPU
mixed_precision: 'no'
num_machines: 1
num_processes: 2
use_cpu: true
"""


def start_ranks(*words) -> list[subprocess.Popen]:
    """Start two processes with the variables that `accelerate launch` gives them, and without it."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    common = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    common["ACCELERATE_USE_CPU"] = "true"
    ranks = ({**os.environ, **common, "RANK": rank, "LOCAL_RANK": rank} for rank in "01")
    return [start(*words, launcher=[sys.executable], env=environment) for environment in ranks]


@pytest.mark.parametrize(
    ("trainer", "asked_by"), [("native", "variables"), ("native", "words"), ("hf", "file")]
)
@pytest.mark.often("native-variables")
def test_two_processes_give_what_one_gives(overrides, tmp_path, trainer, asked_by):
    (tmp_path / "accelerate.yaml").write_text(ACCELERATE_CONFIG)
    of_file = [*LAUNCH, "--config_file", str(tmp_path / "accelerate.yaml")]
    launchers = {
        "variables": start_ranks,
        "words": lambda *words: [start(*words)],
        "file": lambda *words: [start(*words, launcher=of_file)],
    }
    words = [*overrides, f"trainer={trainer}", f"output_dir={tmp_path / 'outputs'}", "threads=1"]
    # 48 rows in batches of 10: the last has 5 rows for one process and 3 for the other, and is a step alone.
    words += ["tracker=wandb", "tracker.mode=offline", "trainer.gradient_accumulation_steps=2"]
    runs = []
    for launch, batch in (
        (lambda *words: [start(*words, launcher=[sys.executable])], 10),
        (launchers[asked_by], 5),
    ):
        ends = [finish(one) for one in launch(*words, f"trainer.per_device_train_batch_size={batch}")]
        assert [code for code, _, _ in ends] == [0] * len(ends), ends
        assert sum(out.count("data  ") for _, out, _ in ends) == 1, "one console"
        runs.append(sorted((tmp_path / "outputs" / "runs" / "two").iterdir())[-1])
        assert len(list(runs[-1].glob("**/offline-run-*"))) == 1
    assert json.loads((runs[-1] / "provenance.json").read_text())["processes"] == 2
    one, two = map(lines_of, runs)
    assert [sorted(line) for line in two] == [sorted(line) for line in one]
    for a, b in zip(one, two, strict=True):
        for name in a.keys() - {"time"}:
            exact = name.startswith(("validation/", "test/")) and not name.endswith("loss")
            assert b[name] == (a[name] if exact else pytest.approx(a[name], abs=1e-5)), name


def wait_for_step(tmp_path, step, timeout=120, place="runs/two/*"):
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        for file in (tmp_path / "outputs").glob(f"{place}/metrics.jsonl"):
            if f'"step": {step},' in file.read_text():
                return
        time.sleep(0.02)
    raise AssertionError("training didn't begin")


def ranks_of(process):
    return [p for p in psutil.Process(process.pid).children(recursive=True) if "RANK" in p.environ()]


LONG = ["trainer=native", "trainer.max_steps=100000", "trainer.eval_steps=20"]


@pytest.mark.parametrize(
    ("trainer", "rank", "reason"),
    [
        ("native", "1", "Another process"),
        pytest.param("native", "0", "The main process is gone", marks=pytest.mark.campaign),
        pytest.param("hf", "1", "Another process", marks=pytest.mark.campaign),
    ],
)
@pytest.mark.campaign
def test_a_process_that_dies_ends_the_run_as_failed(overrides, tmp_path, trainer, rank, reason):
    process = start(*overrides, *LONG, f"trainer={trainer}", f"output_dir={tmp_path / 'outputs'}")
    wait_for_step(tmp_path, 20)
    (victim,) = [one for one in ranks_of(process) if one.environ()["RANK"] == rank]
    victim.kill()
    begin = time.monotonic()
    code, _, err = finish(process, timeout=60)
    assert time.monotonic() - begin < 20
    assert code != 0
    status = json.loads((folder_in(tmp_path) / "status.json").read_text())
    assert (status["state"], reason in status["reason"]) == ("failed", True), status
    assert reason in err or rank == "0"


@pytest.mark.campaign
def test_ctrl_c_saves_and_the_run_goes_on(overrides, tmp_path):
    words = [*overrides, "trainer=native", "trainer.max_steps=60", f"output_dir={tmp_path / 'outputs'}"]
    code, _, err = finish(start(*words))
    assert code == 0, err
    expected = lines_of(folder_in(tmp_path))
    cut = tmp_path / "cut"
    cut.mkdir()
    process = start(*words, f"output_dir={cut / 'outputs'}")
    wait_for_step(cut, 10)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    finish(process)
    folder = folder_in(cut)
    assert json.loads((folder / "status.json").read_text())["state"] == "interrupted"
    assert max(line["step"] for line in lines_of(folder)) < 60
    resume = [*TWO, "-m", "finesweep", "resume", str(folder)]
    done = subprocess.run(resume, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    without_time = [[{k: v for k, v in line.items() if k != "time"} for line in lines]
                    for lines in (lines_of(folder), expected)]  # fmt: skip
    assert without_time[0] == without_time[1]


PRUNER = """
import optuna

class PruneTheSecond(optuna.pruners.BasePruner):
    def prune(self, study, trial):
        return trial.number == 1
"""


@pytest.mark.campaign
def test_trials_of_two_processes_complete_fail_are_pruned_and_survive_a_death(overrides, tmp_path):
    (tmp_path / "pruner.py").write_text(PRUNER)
    words = [*(word for word in overrides if "learning_rate" not in word), "trainer=native", "-m",
             "trainer.learning_rate=1e-3,1e30,2e-3", "trainer.max_steps=30", "trainer.max_grad_norm=0",
             "hydra/sweeper/sampler=grid", "hydra/sweeper/pruner=none",
             "hydra.sweeper.pruner._target_=pruner.PruneTheSecond",
             "hydra.sweeper.processes_per_trial=2", "hydra.sweeper.n_jobs=1",
             f"output_dir={tmp_path / 'outputs'}"]  # fmt: skip
    folder = tmp_path / "outputs" / "sweeps" / "two"
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    process = start(*words, launcher=[sys.executable], env=env)
    wait_for_step(tmp_path, 3, place="sweeps/two/trials/0")
    next(rank for rank in ranks_of(process) if rank.environ()["RANK"] == "1").kill()
    code, out, err = finish(process, timeout=300)
    assert code == 0, err
    rows = list(csv.DictReader((folder / "leaderboard.csv").read_text().splitlines()))
    assert {row["number"]: row["state"] for row in rows} == {"0": "complete", "1": "pruned", "2": "fail"}
    assert "not finite" in next(row["error"] for row in rows if row["state"] == "fail")
    assert "TrainingError" in (folder / "trials" / "2" / "error.txt").read_text()
    assert "a process of the trial has died" in (folder / "workers" / "0.log").read_text()
    steps = [line["step"] for line in lines_of(folder / "trials" / "0") if "train/loss" in line]
    assert steps == list(range(1, 31)), "each step once, from the last checkpoint on"
    assert json.loads((folder / "trials" / "0" / "provenance.json").read_text())["processes"] == 2
    assert max(line["step"] for line in lines_of(folder / "trials" / "1")) == 3
    assert "trial 0 alone is complete" in out


@pytest.mark.campaign
def test_ctrl_c_saves_a_trial_of_two_processes(overrides, tmp_path):
    words = [*overrides, *LONG, "trainer.eval_steps=50000", f"output_dir={tmp_path / 'outputs'}",
             "-m", "peft.r=2,4", "hydra.sweeper.processes_per_trial=2"]  # fmt: skip
    process = start(*words, launcher=[sys.executable])
    wait_for_step(tmp_path, 10, place="sweeps/two/trials/0")
    process.send_signal(signal.SIGINT)
    code, out, _ = finish(process)
    assert code == 130
    assert "Stopped with 2 trials to go" in out
    trial = tmp_path / "outputs" / "sweeps" / "two" / "trials" / "0"
    assert json.loads((trial / "status.json").read_text())["state"] == "interrupted"
    assert list((trial / "checkpoints").glob("checkpoint-*/manifest.json")), "saved when it was told to stop"


@pytest.mark.campaign
def test_a_launched_sweep_says_how_it_is_done(overrides):
    code, _, err = finish(start(*overrides, "-m", "peft.r=2,4"))
    assert code != 0
    assert "hydra.sweeper.processes_per_trial=2" in err
