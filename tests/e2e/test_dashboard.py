"""`finesweep dashboard`: a real server on a real study, for this machine alone."""

import json
import re
import signal
import socket
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPException

import optuna
import pytest
from omegaconf import OmegaConf

from commands import FINESWEEP


@pytest.fixture
def sweep(tmp_path):
    """Return a function that writes what `finesweep dashboard` reads of a sweep, its study in a storage."""

    def write(storage=None):
        folder = tmp_path / "colours"
        folder.mkdir()
        opened = f"sqlite:///{folder / 'study.db'}"
        if storage:
            backend = optuna.storages.journal.JournalFileBackend(storage["log_storage"]["file_path"])
            opened = optuna.storages.JournalStorage(backend)
        study = optuna.create_study(study_name="colours", storage=opened, direction="maximize")
        study.optimize(lambda trial: trial.suggest_float("rate", 0, 1), n_trials=2)
        content = {"study_name": "colours", "settings": {"storage": storage}}
        (folder / "sweep.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(content)))
        return folder

    return write


@pytest.fixture
def serving():
    """Return a function that starts the command, and returns its process and its address."""
    processes = []

    def start(*words):
        command = [FINESWEEP, "dashboard", *map(str, words)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        line = process.stdout.readline()
        found = re.fullmatch(r"colours: (http://127\.0\.0\.1:\d+/)  \(Ctrl-C ends it\)\n", line)
        assert found, line + process.stderr.read()
        return process, found[1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def read(url):
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read().decode()


@pytest.mark.campaign
def test_it_shows_the_study_until_ctrl_c(sweep, serving, call):
    folder = sweep()
    process, url = serving(folder)
    assert "<title>Optuna Dashboard</title>" in read(url)
    (summary,) = json.loads(read(f"{url}api/studies"))["study_summaries"]
    assert summary["study_name"] == "colours"
    study = json.loads(read(f"{url}api/studies/{summary['study_id']}?after=0"))
    assert [trial["state"] for trial in study["trials"]] == ["Complete"] * 2
    port = url.split(":")[2].strip("/")
    refused = call("finesweep", "dashboard", str(folder), "--port", port)
    assert refused.returncode == 1
    assert "The port can't be used: Address already in use" in refused.stderr
    with pytest.raises(ConnectionRefusedError):  # what listens on every address listens there too
        socket.create_connection(("127.0.0.2", int(port)))
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert process.stderr.read() == ""


def test_ctrl_c_is_heard_while_requests_are_answered(sweep, serving):
    process, url = serving(sweep())

    def ask_on():
        with suppress(OSError, HTTPException):  # when the server is gone
            while True:
                read(f"{url}api/studies")

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask_on)
        time.sleep(0.5)
        try:
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        finally:
            process.kill()  # who asks would ask on
        asking.result(timeout=20)


def test_a_study_in_another_storage_is_opened_when_it_is_trusted_on_the_port_that_is_asked_for(
    sweep, serving, call, tmp_path
):
    targets = ("optuna.storages.JournalStorage", "optuna.storages.journal.JournalFileBackend")
    backend = {"_target_": targets[1], "file_path": str(tmp_path / "journal.log")}
    folder = sweep({"_target_": targets[0], "log_storage": backend})
    refused = call("finesweep", "dashboard", str(folder))
    assert refused.returncode != 0
    assert f"--trust {targets[0]}" in refused.stderr
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    _, url = serving(folder, "--trust", targets[0], "--trust", targets[1], "--port", port)
    assert url == f"http://127.0.0.1:{port}/"
    assert "colours" in read(f"{url}api/studies")


def test_what_is_no_sweep_is_refused(call, tmp_path):
    done = call("finesweep", "dashboard", str(tmp_path))
    assert done.returncode == 1
    assert "A sweep's folder holds a sweep.yaml" in done.stderr
