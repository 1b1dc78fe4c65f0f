"""A single run that goes on: with its own config, and with what its user vouches for."""

import json
import socket
import subprocess
import sys

import pytest

from finesweep.commands.resume import resume
from finesweep.errors import FinesweepError, TrainingError


@pytest.fixture
def cut_off(finished):
    """Return the folder of a run that says it was interrupted after its last checkpoint."""
    folder = finished().folder
    (folder / "status.json").write_text(json.dumps({"state": "interrupted"}))
    return folder


def state_of(folder):
    return json.loads((folder / "status.json").read_text())["state"]


def test_a_run_takes_no_other_words(cut_off):
    with pytest.raises(FinesweepError, match=r"peft\.r=4[\s\S]*the config that it has[\s\S]*resume=auto"):
        resume(cut_off, ["peft.r=4"])
    resume(cut_off)
    assert state_of(cut_off) == "complete"


def test_a_run_that_is_running_is_left_alone(cut_off):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    status = {"state": "running", "host": socket.gethostname(), "pid": process.pid}
    (cut_off / "status.json").write_text(json.dumps(status))
    try:
        with pytest.raises(FinesweepError, match=f"is running: process {process.pid} on"):
            resume(cut_off)
    finally:
        process.communicate()
    resume(cut_off)
    assert state_of(cut_off) == "complete"


def test_a_run_without_a_usable_checkpoint_begins_anew_when_it_is_told_to(cut_off):
    for file in cut_off.glob("checkpoints/*/*.safetensors"):
        file.write_bytes(b"damaged")
    with pytest.raises(TrainingError, match="No checkpoint of this run can be used"):
        resume(cut_off, ["resume=strict"])
    resume(cut_off, ["resume=auto"])
    assert state_of(cut_off) == "complete"


def test_a_source_of_the_user_s_own_is_called_when_it_is_trusted(cut_off, tmp_path, monkeypatch):
    (tmp_path / "my_rows.py").write_text("from finesweep.data.sources import csv as read\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = cut_off / "config.yaml"
    config.write_text(config.read_text().replace("finesweep.data.sources.csv", "my_rows.read"))
    with pytest.raises(FinesweepError, match=r"--trust my_rows\.read"):
        resume(cut_off)
    resume(cut_off, trusted=["my_rows.read"])
    assert state_of(cut_off) == "complete"
