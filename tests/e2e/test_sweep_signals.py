"""A sweep's processes are stopped, killed and put to sleep: no trial is lost, none is spoilt."""

import hashlib
import json
import os
import signal
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest

from commands import states_of, sweep_folder, trials_of, wait_for
from finesweep.sweeps.attributes import RETRIES
from finesweep.sweeps.holders import LEASE

SHORT_LEASES = """
import functools
import sys

if "finesweep.sweeps.worker" in sys.orig_argv:
    from finesweep.sweeps import study

    study.Study = functools.partial(study.Study, terms=study.Terms(lease_s=6, renew_s=1))
"""

# The first worker that prepares trial 0 puts itself to sleep when all but the writing is done.
SLEEPS_PREPARING = """
import os
import signal

if "finesweep.sweeps.worker" in sys.orig_argv:
    from finesweep.runs import preparation, run as runner
    from finesweep.sweeps.trial import current_trial

    prepare = preparation.prepare

    def slow(*arguments, **named):
        prepared = prepare(*arguments, **named)
        trial = current_trial()
        if trial and trial.number == 0 and not os.path.exists("asleep"):
            with open("asleep", "w") as file:
                file.write(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGSTOP)
        return prepared

    runner.prepare = slow
"""
KEPT = (
    "status.json",
    "result.json",
    "metrics.jsonl",
    "adapter/adapter_model.safetensors",
    "config.yaml",
    "train.log",
)


@pytest.fixture
def long_words(words):
    """Return the overrides of a sweep of two trials that take longer than a test waits."""
    kept = [word for word in words if not word.startswith(("trainer.max_steps", "trainer.eval_steps"))]
    return [*kept, "peft.r=2,4", "trainer.max_steps=100000", "trainer.eval_steps=50000", "-m"]


@pytest.fixture
def short_words(words):
    """Return the overrides of a sweep of two trials of a second each."""
    kept = [word for word in words if not word.startswith(("trainer.max_steps", "trainer.eval_steps"))]
    sizes = ["peft.r=2,4", "trainer.max_steps=240", "trainer.eval_steps=120", "hydra/sweeper/pruner=none"]
    return [*kept, *sizes, "-m"]


@pytest.fixture
def put_to_sleep():
    """Return a function that stops a process that runs on a study, but not while it holds the database."""
    pids = []

    def call(pid: int, folder: Path) -> None:
        pids.append(pid)
        while True:
            os.kill(pid, signal.SIGSTOP)
            with closing(sqlite3.connect(folder / "study.db", timeout=1)) as database:
                try:
                    database.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError:
                    os.kill(pid, signal.SIGCONT)
                else:
                    return

    yield call
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def is_training(root: Path, number: int) -> bool:
    metrics = root / f"outputs/sweeps/study/trials/{number}/metrics.jsonl"
    return metrics.exists() and metrics.read_text().count("\n") > 20


def digests(trial: Path) -> dict[str, str]:
    return {name: hashlib.sha256((trial / name).read_bytes()).hexdigest() for name in KEPT}


def worker_of(folder: Path, number: int) -> int:
    return trials_of(folder)[number].system_attrs[LEASE]["pid"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.often("15")
def test_sigterm_and_a_closed_terminal_give_every_trial_back_with_a_checkpoint(
    start, long_words, tmp_path, number
):
    process = start(*long_words, "hydra.sweeper.n_jobs=2")
    output = tmp_path / "output.txt"
    wait_for(lambda: is_training(tmp_path, 0) and is_training(tmp_path, 1), process, output)
    folder = sweep_folder(tmp_path)
    workers = [worker_of(folder, number) for number in (0, 1)]
    process.send_signal(number)
    assert process.wait(timeout=60) == 128 + number
    assert not [pid for pid in workers if psutil.pid_exists(pid)]
    assert states_of(folder) == ["WAITING", "WAITING"]
    for trial in trials_of(folder):
        assert len(list((folder / f"trials/{trial.number}/checkpoints").glob("checkpoint-*"))) == 1
        assert RETRIES not in trial.system_attrs
    expected = "Stopped with 2 trials to go. Continue: finesweep resume outputs/sweeps/study"
    assert expected in output.read_text()
    status = json.loads((folder / "status.json").read_text())
    assert status == {"state": "interrupted", "reason": number.name}


@pytest.mark.campaign
def test_ctrl_c_ends_the_workers_of_a_launcher_too(start, long_words, tmp_path):
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweeper.n_jobs=2"]
    process = start(*long_words, *launcher)
    output = tmp_path / "output.txt"
    wait_for(lambda: is_training(tmp_path, 0) and is_training(tmp_path, 1), process, output)
    folder = sweep_folder(tmp_path)
    workers = [worker_of(folder, number) for number in (0, 1)]
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert not [pid for pid in workers if psutil.pid_exists(pid)]
    assert states_of(folder) == ["WAITING", "WAITING"]
    assert "Stopped with 2 trials to go." in output.read_text()


@pytest.mark.campaign
def test_ctrl_c_in_a_sweep_without_workers_gives_the_trial_back(sweep_here, words, tmp_path, monkeypatch):
    (tmp_path / "impatient.py").write_text(
        "import os, signal\n"
        "def configure(config, trial):\n"
        "    if trial.number == 1 and not os.path.exists('interrupted'):\n"
        "        open('interrupted', 'w').close()\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    command = [*words, "peft.r=2,4", "trainer.max_steps=2", "hydra/sweeper/pruner=none"]
    command += ["hydra.sweeper.n_trials=2", "hydra.sweeper.custom_search_space=impatient.configure"]
    with pytest.raises(SystemExit) as ended:
        sweep_here(*command)
    assert ended.value.code == 130
    folder = sweep_folder(tmp_path)
    assert states_of(folder) == ["COMPLETE", "WAITING"]
    assert json.loads((folder / "status.json").read_text())["state"] == "interrupted"
    sweep_here(*command)
    assert states_of(folder) == ["COMPLETE", "COMPLETE"]


@pytest.mark.campaign
def test_a_second_ctrl_c_ends_a_worker_that_hangs_and_resume_finishes(
    start, call, short_words, tmp_path, put_to_sleep
):
    process = start(*short_words, "hydra.sweeper.n_jobs=1")
    output = tmp_path / "output.txt"
    wait_for(lambda: is_training(tmp_path, 0), process, output)
    folder = sweep_folder(tmp_path)
    worker = worker_of(folder, 0)
    put_to_sleep(worker, folder)
    process.send_signal(signal.SIGINT)
    wait_for(lambda: "Ctrl-C again ends at once" in output.read_text(), process, output)
    time.sleep(1)
    assert process.poll() is None
    assert psutil.pid_exists(worker)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 130
    assert not psutil.pid_exists(worker)
    assert "Continue: finesweep resume outputs/sweeps/study" in output.read_text()
    assert "RUNNING" not in states_of(folder)
    assert not any(trial.system_attrs.get(RETRIES) for trial in trials_of(folder))
    done = call("finesweep", "resume")
    assert done.returncode == 0, done.stdout + done.stderr
    assert states_of(folder) == ["COMPLETE", "COMPLETE"]


@pytest.mark.campaign
def test_a_worker_that_slept_through_its_lease_leaves_the_trial_alone(
    start, short_words, tmp_path, put_to_sleep
):
    (tmp_path / "start-up").mkdir()
    (tmp_path / "start-up" / "sitecustomize.py").write_text(SHORT_LEASES)
    process = start(
        *short_words, "hydra.sweeper.n_jobs=2", environment={"PYTHONPATH": str(tmp_path / "start-up")}
    )
    output = tmp_path / "output.txt"
    wait_for(lambda: is_training(tmp_path, 0), process, output)
    folder = sweep_folder(tmp_path)
    sleeper = worker_of(folder, 0)
    put_to_sleep(sleeper, folder)
    assert states_of(folder)[0] == "RUNNING"
    wait_for(lambda: states_of(folder) == ["COMPLETE", "COMPLETE"], process, output)
    assert worker_of(folder, 0) == worker_of(folder, 1) != sleeper
    wait_for(lambda: has_ended(worker_of(folder, 1)), process, output)  # it tests the winner first
    trial = folder / "trials/0"
    before = digests(trial)
    os.kill(sleeper, signal.SIGCONT)
    assert process.wait(timeout=60) == 0, output.read_text()
    logs = "".join(log.read_text() for log in (folder / "workers").iterdir())
    assert "Dropped a trial: trial 0 belongs to another worker" in logs
    assert "Traceback" not in logs
    assert digests(trial) == before
    assert json.loads((trial / "status.json").read_text())["state"] == "complete"
    assert not (trial / "error.txt").exists()
    assert [trial.system_attrs.get(RETRIES) for trial in trials_of(folder)] == [1, None]


@pytest.mark.campaign
def test_a_worker_that_slept_while_it_prepared_leaves_the_finished_trial_alone(
    start, short_words, tmp_path, put_to_sleep
):
    (tmp_path / "start-up").mkdir()
    (tmp_path / "start-up" / "sitecustomize.py").write_text(SHORT_LEASES + SLEEPS_PREPARING)
    process = start(
        *short_words, "hydra.sweeper.n_jobs=2", environment={"PYTHONPATH": str(tmp_path / "start-up")}
    )
    output = tmp_path / "output.txt"
    wait_for(lambda: (tmp_path / "asleep").exists() and (tmp_path / "asleep").read_text(), process, output)
    sleeper, folder = int((tmp_path / "asleep").read_text()), sweep_folder(tmp_path)
    put_to_sleep(sleeper, folder)
    wait_for(lambda: states_of(folder) == ["COMPLETE", "COMPLETE"], process, output)
    wait_for(lambda: has_ended(worker_of(folder, 1)), process, output)  # it tests the winner first
    trial = folder / "trials/0"
    before = digests(trial)
    os.kill(sleeper, signal.SIGCONT)
    assert process.wait(timeout=60) == 0, output.read_text()
    assert digests(trial) == before
    assert json.loads((trial / "status.json").read_text())["state"] == "complete"
    logs = "".join(log.read_text() for log in (folder / "workers").iterdir())
    assert "Dropped a trial: trial 0" in logs
    assert "Traceback" not in logs
    assert not (trial / "error.txt").exists()


def has_ended(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True
