"""Trackers get every number, and whatever breaks in them stays theirs."""

import json
import logging
import os
import re
import subprocess
import sys
import time

import pytest

from composing import compose_config
from finesweep.runs.run import run
from finesweep.trackers import RunInfo, Several, Sinks
from finesweep.trackers.wandb_access import Access, choose_access
from wandb_server import KEY, WandbServer


@pytest.fixture
def online(monkeypatch):
    """Return a function that points W&B at a server, with a key."""

    def point(server: WandbServer) -> None:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.delenv("WANDB_MODE", raising=False)

    return point


def tracked(tiny_overrides, *more: str):
    words = [
        *(word for word in tiny_overrides if word != "tracker=none"),
        "tracker.group=study",
        "tracker.tags=[t]",
        *more,
    ]
    return run(compose_config(*words), overrides=words)


def by_step(lines):
    """Merge metrics.jsonl's lines by step, as W&B's step axis does."""
    merged: dict[int, dict] = {}
    for line in lines:
        merged.setdefault(line["step"], {}).update(
            {k: v for k, v in line.items() if k not in ("step", "time")}
        )
    return merged


def written(result):
    return by_step([json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()])


def own(row):
    return {name: value for name, value in row.items() if not name.startswith("_")}


def test_an_offline_run_read_back_equals_metrics_jsonl(tiny_overrides):
    result = tracked(tiny_overrides)
    (log,) = result.folder.glob("wandb/offline-run-*/*.wandb")
    command = [os.path.join(os.path.dirname(sys.executable), "wandb"), "leet", "inspect", "--json", str(log)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    history = [record["history"]["item"] for record in records if record["type"] == "history"]
    assert {row["_step"]: own(row) for row in history} == written(result)
    (exit_record,) = [record["exit"] for record in records if record["type"] == "exit"]
    assert exit_record.get("exit_code", 0) == 0


def test_an_online_run_sends_every_number_and_the_nested_config(tiny_overrides, online, caplog):
    with WandbServer() as server:
        online(server)
        result = tracked(tiny_overrides)
        assert server.wait_for_exit() == 0
    assert {step: own(row) for step, row in server.rows_by_step().items()} == written(result)
    sent = server.runs[0]
    assert sent["name"] == result.folder.name
    assert (sent["groupName"], sent["jobType"], sent["tags"]) == ("study", "train", ["t"])
    config = json.loads(sent["config"])
    assert config["peft"]["value"]["r"] == 8
    assert config["trainer"]["value"]["max_steps"] == 4


def test_a_failed_run_is_failed_there_too(tiny_overrides, online):
    with WandbServer() as server:
        online(server)
        with pytest.raises(ValueError, match="not finite"):
            tracked(tiny_overrides, "trainer.learning_rate=1e30", "trainer.max_grad_norm=0")
        assert server.wait_for_exit() == 1


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        (WandbServer(status=401), "refuses the API key"),
        (WandbServer(status=500), "answers 500"),
        (None, "doesn't answer"),
    ],
)
def test_a_host_that_can_t_be_used_means_offline_in_seconds(server, reason, monkeypatch):
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9" if server is None else server.url)
    start = time.monotonic()
    if server is None:
        access = choose_access("auto")
    else:
        with server:
            access = choose_access("auto")
    assert access.mode == "offline"
    assert reason in access.reason
    assert time.monotonic() - start < 10


def test_without_a_key_the_run_is_offline(monkeypatch, tmp_path):
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert choose_access("auto") == Access("offline", "no API key")
    assert choose_access("online").mode == "online"
    (tmp_path / ".netrc").write_text(f"machine api.wandb.ai login user password {KEY}")
    (tmp_path / ".netrc").chmod(0o600)
    access = choose_access("online")
    assert access.api_key == KEY
    assert KEY not in repr(access)


SABOTAGE = """
import os, subprocess, sys, time
sys.path.insert(0, {tests!r})
from composing import compose_config
from finesweep import trackers
from finesweep.runs.run import run
from finesweep.trackers import background, wandb

background.FINISH_TIMEOUT_S = wandb.FINISH_TIMEOUT_S = 60 if {kill} else 3
send = trackers.WandbTracker.log

def kill_first(self, step, metrics):
    if step == 2:
        kill = ["pkill", "-KILL", "-P", str(os.getpid()), "-f", "wandb-core"]
        print("SABOTAGED" if subprocess.run(kill).returncode == 0 else "nothing to kill")
        time.sleep(0.2)
    send(self, step, metrics)

if {kill}:
    trackers.WandbTracker.log = kill_first
print("FOLDER", run(compose_config(*sys.argv[1:])).folder)
"""


@pytest.mark.parametrize("fault", ["the server hangs", "the service is killed"])
@pytest.mark.often("the service is killed")
def test_a_fault_on_the_way_to_wandb_changes_no_result(fault, tiny_overrides, online, tmp_path):
    """In a process of its own, since it must also be able to exit."""
    expected = written(run(compose_config(*tiny_overrides), overrides=tiny_overrides))
    hangs = fault == "the server hangs"
    script = tmp_path / "sabotage.py"
    script.write_text(SABOTAGE.format(tests=os.path.dirname(os.path.dirname(__file__)), kill=not hangs))
    words = [word for word in tiny_overrides if word != "tracker=none"]
    with WandbServer(hang_after_probe=hangs) as server:
        online(server)
        command = [sys.executable, str(script), *words]
        # W&B leaves the address of this process's service in the environment; the script is to start its own.
        own = {name: value for name, value in os.environ.items() if not re.match("WANDB_+SERVICE", name)}
        done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    if hangs:  # W&B's own exit hook may complain of the service that was killed under it
        assert "Traceback" not in done.stderr
    assert ("The tracker didn't finish" if hangs else "SABOTAGED") in done.stdout
    folder = done.stdout.rpartition("FOLDER ")[2].strip()
    with open(os.path.join(folder, "metrics.jsonl")) as file:
        assert by_step([json.loads(line) for line in file]) == expected


class Broken:
    """A tracker that fails where it is told to."""

    def __init__(self, where: str) -> None:
        self.where, self.logged = where, []

    def _maybe_fail(self, where):
        if where == self.where:
            raise ConnectionError(f"no luck in {where}")

    def load(self):
        self._maybe_fail("load")

    def start(self, run):
        self._maybe_fail("start")

    def log(self, step, metrics):
        self._maybe_fail("log")
        self.logged.append(step)

    def finish(self, state):
        self._maybe_fail("finish")

    def abandon(self):
        self.abandoned = True


@pytest.mark.parametrize("where", ["load", "start", "log", "finish"])
def test_a_tracker_s_error_is_said_once_and_goes_no_further(where, tmp_path, caplog):
    logging.getLogger("finesweep").propagate = True
    tracker = Broken(where)
    sinks = Sinks(tracker, RunInfo("id", "name", tmp_path, {}))
    for step in range(5):
        sinks.on_log(step, {"train/loss": 1.0})
    assert sinks.close("complete")
    warnings = [record.message for record in caplog.records if "tracker" in record.message]
    assert warnings == [
        f"The tracker stopped working (ConnectionError: no luck in {where}); the run goes on without it."
    ]
    assert tracker.abandoned
    assert tracker.logged == ([0, 1, 2, 3, 4] if where == "finish" else [])


def test_a_tracker_that_blocks_or_breaks_silences_no_other(tmp_path, caplog):
    logging.getLogger("finesweep").propagate = True

    class Blocking(Broken):
        def finish(self, state):
            time.sleep(30)

    class Working(Broken):
        def finish(self, state):
            self.state = state

    working = Working("")
    makers = {"first": lambda: Blocking(""), "second": lambda: Broken("start"), "third": lambda: working}
    sinks = Sinks(Several(**makers), RunInfo("id", "name", tmp_path, {}))
    sinks.on_log(1, {"train/loss": 1.0})
    start = time.monotonic()
    assert not sinks.close("pruned", timeout=0.5)
    assert time.monotonic() - start < 5
    assert (working.logged, working.state) == ([1], "pruned")
    assert "The tracker first didn't finish" in caplog.text
    assert "The tracker second stopped working" in caplog.text
