"""A sweep without a controller: workers join it from anywhere, and the last one out ends it."""

import json
import os
import signal
import subprocess

import pytest

from commands import FINESWEEP, leaderboard, states_of, sweep_folder, trials_of, wait_for
from finesweep.errors import TrialsLeft
from finesweep.runs.layout import RunFolder
from finesweep.sweeps.attributes import RETRIES
from finesweep.sweeps.holders import LEASE


@pytest.fixture
def work(tmp_path):
    """Return a function that starts a worker, its number in the name of its output's file."""
    processes = []

    def popen():
        output = tmp_path / f"worker-{len(processes)}.txt"
        command = [FINESWEEP, "work", "outputs/sweeps/study"]
        with output.open("w") as log:
            process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT)
        processes.append(process)
        return process, output

    yield popen
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.campaign  # tests/sweeps/test_joining.py joins with trials that train nothing
def test_of_two_workers_one_is_killed_one_is_warned_and_a_third_ends_the_sweep(call, words, work, tmp_path):
    kept = [word for word in words if not word.startswith(("trainer.max_steps", "trainer.eval_steps"))]
    kept += ["peft.r=2,4,8", "trainer.max_steps=300", "trainer.eval_steps=150", "hydra/sweeper/pruner=none"]
    opened = call("train.py", *kept, "threads=1", "hydra.sweeper.detach=true", "-m")
    assert opened.returncode == 0, opened.stderr
    assert "finesweep work outputs/sweeps/study" in opened.stdout
    folder = sweep_folder(tmp_path)
    assert RunFolder(folder).state() == "open"

    def trains(number: int) -> bool:
        metrics = folder / f"trials/{number}/metrics.jsonl"
        return metrics.exists() and metrics.read_text().count("\n") > 20

    (first, output), (second, other) = work(), work()
    wait_for(lambda: trains(0), first, output)
    wait_for(lambda: trains(1), second, other)
    assert RunFolder(folder).state() == "running"
    by_pid = {trial.system_attrs[LEASE]["pid"]: trial.number for trial in trials_of(folder)[:2]}
    assert set(by_pid) == {first.pid, second.pid}
    first.kill()
    first.wait()
    second.send_signal(signal.SIGUSR1)
    assert second.wait(timeout=60) == 75, other.read_text()
    given_back = by_pid[second.pid]
    assert states_of(folder)[given_back] == "WAITING"
    assert list((folder / f"trials/{given_back}/checkpoints").glob("checkpoint-*"))
    assert json.loads((folder / "status.json").read_text()) == {"state": "interrupted", "reason": "SIGUSR1"}

    third, last = work()
    assert third.wait(timeout=240) == 0, last.read_text()
    assert states_of(folder) == ["COMPLETE"] * 3
    retries = {trial.number: trial.system_attrs.get(RETRIES) for trial in trials_of(folder)}
    assert retries == {by_pid[first.pid]: 1, given_back: None, 2: None}
    rows = leaderboard(folder)
    assert [bool(row["test/accuracy"]) for row in rows] == [True, False, False]
    assert json.loads((folder / "status.json").read_text()) == {"state": "complete"}
    assert "best of 3 complete trials" in last.read_text()
    assert (folder / "report.html").is_file()

    written = os.stat(folder / "leaderboard.csv").st_mtime_ns
    done = call("finesweep", "work", str(folder))
    assert (done.returncode, "its results are written" in done.stdout) == (0, True), done.stderr
    assert os.stat(folder / "leaderboard.csv").st_mtime_ns == written


def test_a_worker_whose_data_are_others_may_not_take_part(sweep_here, words, tmp_path, tiny_csv, capsys):
    joined = [
        *words,
        "peft.r=2,4",
        "trainer.max_steps=2",
        "hydra/sweeper/pruner=none",
        "hydra.sweeper.join=true",
    ]
    joined.append("hydra/sweeper/pruner=none")
    with pytest.raises(TrialsLeft):
        sweep_here(*joined, "hydra.sweeper.worker_trials=1")
    lines = tiny_csv.read_text().splitlines(keepends=True)
    tiny_csv.write_text("".join(lines[:-3]))
    with pytest.raises(SystemExit) as refused:
        sweep_here(*joined)
    assert refused.value.code == 1
    assert "Its data are not what they were" in capsys.readouterr().err
    assert states_of(sweep_folder(tmp_path)) == ["COMPLETE"]
    tiny_csv.write_text("".join(lines))
    sweep_here(*joined)
    assert states_of(sweep_folder(tmp_path)) == ["COMPLETE"] * 2
    assert json.loads((sweep_folder(tmp_path) / "status.json").read_text()) == {"state": "complete"}
