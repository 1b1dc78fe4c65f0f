"""`finesweep ls` and `finesweep clean` on real folders of runs and a sweep."""

import json
import os
import socket
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from finesweep.commands import listing
from finesweep.commands.cli import app
from finesweep.commands.listing import age_text
from finesweep.metrics import computation
from finesweep.runs.layout import RunFolder
from finesweep.system.places import NO_HOME, cache_folder


def call(*words: str, **options):
    return CliRunner().invoke(app, [str(word) for word in words], **options)


@pytest.fixture
def shelf(finished, tmp_path):
    """Return an output folder with a run, and a sweep of two trials of which one was cut off."""
    run = finished()
    folder = tmp_path / "outputs"
    sweep = folder / "sweeps" / "mine"
    sweep.mkdir(parents=True)
    (sweep / "sweep.yaml").write_text("{}")
    (sweep / "status.json").write_text('{"state": "interrupted"}')
    (sweep / "leaderboard.csv").write_text("number,state,objective\n0,complete,0.75\n1,running,\n")
    for number, state in ((0, "complete"), (1, "interrupted")):
        checkpoint = sweep / "trials" / str(number) / "checkpoints" / "checkpoint-1"
        checkpoint.mkdir(parents=True)
        (checkpoint / "weights").write_bytes(bytes(2**20))
        (sweep / "trials" / str(number) / "status.json").write_text(json.dumps({"state": state}))
        (sweep / "trials" / str(number) / "config.yaml").touch()
    result = {"objective": {"metric": "objective", "value": 0.75, "direction": "maximize"}, "metrics": {},
              "parameters": {"trainable": 1}, "timings": {}}  # fmt: skip
    (sweep / "trials" / "0" / "result.json").write_text(json.dumps(result))
    (folder / "another-tool").mkdir()
    (folder / "another-tool" / "status.json").write_text("[]")
    return folder, run.folder, sweep


def test_runs_and_sweeps_are_listed_and_trials_only_when_asked_for(shelf):
    folder, run, sweep = shelf
    found = {entry["folder"]: entry for entry in json.loads(call("ls", folder, "--json").stdout)}
    assert set(found) == {str(run), str(sweep)}
    assert found[str(run)]["state"] == "complete"
    assert found[str(run)]["objective"].startswith("accuracy ")
    assert found[str(run)]["bytes"] == listing.size_of(run) > 1000
    assert found[str(sweep)]["objective"] == "objective 0.7500"
    of_sweep = json.loads(call("ls", sweep, "--json").stdout)
    assert [entry["kind"] for entry in of_sweep].count("run") == 2
    lines = call("ls", folder).stdout.splitlines()
    assert len(lines) == 3
    assert "interrupted" in call("ls", folder).stdout


@pytest.mark.parametrize(
    ("host", "is_alive", "state"),
    [(None, True, "running"), (None, False, "killed"), ("another", False, "running")],
)
def test_a_run_whose_process_is_no_more_was_killed(tmp_path, host, is_alive, state):
    ended = subprocess.Popen(["true"])
    ended.wait()
    status = {
        "state": "running",
        "host": host or socket.gethostname(),
        "pid": os.getpid() if is_alive else ended.pid,
    }
    (tmp_path / "status.json").write_text(json.dumps(status))
    (tmp_path / "config.yaml").touch()
    (entry,) = json.loads(call("ls", tmp_path, "--json").stdout)
    assert entry["state"] == state


@pytest.mark.parametrize(
    ("time", "state"),
    [("2020-01-01T00:00:00+00:00", "killed"), ("2100-01-01T00:00:00+00:00", "running"), ("soon", "damaged")],
)
def test_a_run_whose_process_number_is_another_s_now_was_killed(tmp_path, time, state):
    folder = RunFolder(tmp_path)
    folder.write_status("running")
    status = folder.read_status()
    assert folder.state() == status["state"] == "running"
    assert abs(datetime.now(UTC) - datetime.fromisoformat(status["time"])) < timedelta(hours=1)
    folder.status.write_text(json.dumps({**status, "time": time}))
    assert folder.state() == state


def test_clean_removes_the_checkpoints_of_finished_runs_alone(shelf):
    folder, run, sweep = shelf
    before = {path for path in run.rglob("*") if "checkpoints" not in path.parts}
    assert "1 finished run has checkpoints" in call("clean", run, input="n\n").stdout
    done = call("clean", folder, input="n\n")
    assert done.exit_code == 1
    listed = json.loads(call("clean", folder, "--json").stdout)
    assert (len(listed["checkpoints"]), listed["removed"]) == (2, False)
    assert (run / "checkpoints").is_dir()
    done = call("clean", folder, "--yes")
    assert "2 finished runs have checkpoints" in done.stdout
    assert not (run / "checkpoints").exists()
    assert not (sweep / "trials" / "0" / "checkpoints").exists()
    assert (sweep / "trials" / "1" / "checkpoints" / "checkpoint-1" / "weights").is_file()
    assert before == set(run.rglob("*"))
    assert "no checkpoints" in call("clean", folder, "--yes").stdout
    assert json.loads(call("clean", folder, "--yes", "--json").stdout)["bytes"] == 0


def test_an_empty_folder_and_none_are_told_apart(tmp_path):
    assert "No runs and no sweeps here" in call("ls", tmp_path).stdout
    done = call("ls", tmp_path / "nothing")
    assert done.exit_code == 1
    assert "No such folder" in done.output


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (90, "1 min"), (7200, "2 h"), (200000, "2 d")])
def test_ages_have_one_unit(seconds, text):
    assert age_text(seconds) == text


@pytest.fixture
def read_only(tmp_path):
    """Return a function that shows a folder at another place where nothing can be written."""
    mounted = []

    def show(folder):
        place = tmp_path / "read-only"
        place.mkdir()
        made = subprocess.run(["mount", "--bind", folder, place], capture_output=True)
        if made.returncode:
            pytest.skip("mounting isn't allowed here, and root may write everywhere else")
        mounted.append(place)
        subprocess.run(["mount", "-o", "remount,ro,bind", place], check=True)
        return place

    yield show
    for place in mounted:
        subprocess.run(["umount", place], check=True)


def test_a_folder_that_can_t_be_written_is_named(finished, read_only, tmp_path):
    folder = finished().folder
    shown = read_only(folder)
    assert call("ls", shown).exit_code == 0
    evaluated = call("evaluate", shown)
    assert evaluated.exit_code == 1
    assert f"{shown}\n  It can't be read or written: Read-only file system." in evaluated.output
    cleaned = call("clean", shown, "--yes")
    assert cleaned.exit_code == 1
    assert "checkpoints\n  It can't be removed: Read-only file system." in cleaned.output


@pytest.fixture
def sweep_words(tiny_overrides):
    """Return the words of a sweep of one trial, and of its place."""
    return [*tiny_overrides, "hydra.sweeper.n_jobs=0", "hydra.sweeper.n_trials=1", "-m"]


def test_a_sweep_s_folder_that_can_t_be_made_is_named(sweep_words, tmp_path):
    (tmp_path / "file").touch()
    done = call("train", *sweep_words, f"output_dir={tmp_path / 'file' / 'outputs'}")
    assert done.exit_code == 2
    assert f"{tmp_path / 'file'} is no folder." in done.output
    assert "output_dir=FOLDER" in done.output
    assert "Traceback" not in done.output


def test_a_sweep_s_folder_that_can_t_be_written_is_named(sweep_words, read_only, tmp_path):
    assert call("train", *sweep_words).exit_code == 0
    shown = read_only(tmp_path / "outputs" / "sweeps" / "tiny")
    for more in ([], ["hydra.sweeper.n_trials=2"]):
        done = call("resume", shown, *more)
        assert done.exit_code == 1
        assert f"{shown}\n  It can't be read or written: Read-only file system." in done.output
        assert "Traceback" not in done.output


def test_a_cache_that_can_t_be_written_is_done_without(finished, read_only, tmp_path, monkeypatch):
    (tmp_path / "cache").mkdir()
    monkeypatch.setenv("FINESWEEP_CACHE", str(read_only(tmp_path / "cache") / "mine"))
    monkeypatch.setattr("evaluate.config.HF_METRICS_CACHE", "/proc/nowhere")  # a home that can't be written
    computation._module.cache_clear()
    try:
        result = finished()
    finally:
        computation._module.cache_clear()
    assert result.state == "complete"
    assert (result.folder / "train.log").read_text().count("what belongs there is kept in") == 1


def test_without_a_home_there_is_a_cache_all_the_same(monkeypatch):
    monkeypatch.setenv("FINESWEEP_CACHE", "~no-such-user/cache")
    assert cache_folder() == NO_HOME / "cache"
