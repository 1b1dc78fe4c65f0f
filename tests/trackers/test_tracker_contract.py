"""What every tracker has to do, read back with the tool's own reader."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from composing import compose_config
from finesweep.config.build import build
from finesweep.config.check import check
from finesweep.errors import ConfigError, Interrupted
from finesweep.runs.run import run
from finesweep.system.places import config_folder
from finesweep.trackers import NoTracker, RunInfo, Sinks
from finesweep.trackers.choice import spelled_out
from finesweep.training import Decision, Monitor

NAMES = ("wandb", "tensorboard", "mlflow", "trackio")
SECRET = "hunter2-hunter2"


@dataclass
class Read:
    """What a tool's own reader finds of a run: step -> name -> value, the config, and how it ended."""

    rows: dict[int, dict[str, float]] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    state: str = ""


def read_wandb(folder: Path, _: Path) -> Read:
    (log,) = folder.glob("wandb/offline-run-*/*.wandb")
    command = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(log)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = Read()
    for record in map(json.loads, done.stdout.splitlines()):
        if record["type"] == "history":
            item = record["history"]["item"]
            found.rows[item["_step"]] = {k: v for k, v in item.items() if not k.startswith("_")}
        elif record["type"] == "exit":
            found.state = str(record["exit"].get("exit_code", 0))
        elif record["type"] == "run":
            sent = record["run"]
            found.config = {"peft.r": sent["config"]["update"]["peft"]["r"], "group": sent.get("run_group")}
    return found


def read_tensorboard(folder: Path, _: Path) -> Read:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    found = Read()
    for tag in events.Tags()["scalars"]:
        for event in events.Scalars(tag):
            found.rows.setdefault(event.step, {})[tag] = event.value
    content = events.PluginTagToContent(metadata.PLUGIN_NAME)
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    for name, value in start.hparams.items():
        found.config[name] = getattr(value, value.WhichOneof("kind"))
    if metadata.SESSION_END_INFO_TAG in content:
        end = metadata.parse_session_end_info_plugin_data(content[metadata.SESSION_END_INFO_TAG])
        found.state = str(end.status)
    return found


def read_mlflow(folder: Path, outputs: Path) -> Read:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{outputs / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'finesweep'")
    (found,) = client.search_runs([experiment.experiment_id], f"tags.`finesweep.run_id` = '{folder.name}'")
    read = Read(config={**found.data.params, "group": found.data.tags.get("group")})
    read.state = f"{found.info.status} {found.data.tags['state']}"
    for name in found.data.metrics:
        for point in client.get_metric_history(found.info.run_id, name):
            read.rows.setdefault(point.step, {})[name] = point.value
    return read


def read_trackio(folder: Path, _: Path) -> Read:
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    (found,) = (r for r in trackio.Api().runs("finesweep") if r.name.endswith(folder.name))
    read, config = Read(state=str(len(found.alerts()))), found.config or {}
    read.config = {"peft.r": config.get("peft", {}).get("r"), "group": config.get("_Group")}
    for line in SQLiteStorage.get_logs("finesweep", run=found.name):
        step = line["step"]
        numbers = {k: v for k, v in line.items() if k not in ("step", "timestamp", "metric_id")}
        read.rows.setdefault(step, {}).update(numbers)
    return read


READERS = {
    "wandb": read_wandb,
    "tensorboard": read_tensorboard,
    "mlflow": read_mlflow,
    "trackio": read_trackio,
}
ENDS = {  # how each tool calls our states
    "wandb": {"complete": "0", "pruned": "0", "interrupted": "1", "failed": "1"},
    "tensorboard": {"complete": "1", "pruned": "1", "interrupted": "", "failed": "2"},
    "mlflow": {
        "complete": "FINISHED complete",
        "pruned": "FINISHED pruned",
        "interrupted": "KILLED interrupted",
        "failed": "FAILED failed",
    },
    "trackio": {"complete": "0", "pruned": "0", "interrupted": "0", "failed": "1"},  # the number of alerts
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory) -> Path:
    """Return the output folder of all runs here: Trackio keeps the first of a process."""
    return tmp_path_factory.mktemp("tracked") / "outputs"


@pytest.fixture(autouse=True)
def _no_place_of_the_user_s(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def tracker_of(name: str, outputs: Path, *words: str) -> Any:
    config = compose_config(f"tracker={name}", f"output_dir={outputs}", *words)
    return build(check(config, online=False)["tracker"])


def info_of(folder: Path, **more: Any) -> RunInfo:
    folder.mkdir(parents=True, exist_ok=True)
    return RunInfo(
        folder.name, "named", folder, {"peft": {"r": 8, "url": "sql://me:pass-word@host/db"}}, **more
    )


def kept(name: str, rows: dict[int, dict[str, float]]) -> dict[int, dict[str, float]]:
    """Round to what a tool keeps: TensorBoard's scalars are single precision."""
    if name != "tensorboard":
        return rows
    return {step: {k: float(np.float32(v)) for k, v in row.items()} for step, row in rows.items()}


def numbers_of(rows: dict[int, dict[str, Any]]) -> dict[int, dict[str, float]]:
    return {step: row for step, row in rows.items() if row}


def test_every_choice_of_tracker_is_held_to_this_contract():
    choices = {file.stem for file in (config_folder() / "tracker").glob("*.yaml")}
    assert choices == {*NAMES, "none", "several"}


@pytest.mark.parametrize("name", NAMES)
def test_a_run_read_back_equals_metrics_jsonl(name, tiny_overrides, outputs, monkeypatch, tmp_path):
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("MY_API_KEY", SECRET)
    words = [word for word in tiny_overrides if not word.startswith(("tracker", "output_dir"))]
    words += [
        f"tracker={name}",
        f"output_dir={outputs}",
        "tracker.group=study",
        f"+trainer.run_name={SECRET}",
    ]
    result = run(compose_config(*words), overrides=words)

    lines: dict[int, dict[str, float]] = {}
    for line in map(json.loads, (result.folder / "metrics.jsonl").read_text().splitlines()):
        lines.setdefault(line["step"], {}).update(
            {k: v for k, v in line.items() if k not in ("step", "time")}
        )
    read = READERS[name](result.folder, outputs)
    assert numbers_of(read.rows) == kept(name, lines)
    assert len(lines) == 4
    assert str(read.config["peft.r"]) in ("8", "8.0")
    assert read.config["group"] == "study"
    assert read.state == ENDS[name]["complete"]
    left = {p.parent for p in (*here.rglob("*"), *home.rglob("*")) if p.is_file()}
    assert left <= {home / ".cache" / "wandb" / "logs"}  # W&B's service has a log of its own there
    leaks = [p for p in outputs.rglob("*") if p.is_file() and SECRET.encode() in p.read_bytes()]
    assert leaks == []


@pytest.mark.parametrize("state", ["complete", "pruned", "interrupted", "failed"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.often("wandb-*", "tensorboard-pruned", "mlflow-failed", "trackio-interrupted")
def test_a_run_ends_there_as_it_ended_here(name, state, outputs, tmp_path):
    folder = tmp_path / f"{name}-{state}"
    sinks = Sinks(tracker_of(name, outputs), info_of(folder))
    sinks.on_log(1, {"train/loss": 0.1})
    assert sinks.close(state)
    read = READERS[name](folder, outputs)
    assert numbers_of(read.rows) == kept(name, {1: {"train/loss": 0.1}})
    assert read.state == ENDS[name][state]
    assert b"pass-word" not in b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "trackio"])
def test_a_run_that_goes_on_has_each_step_once(name, outputs, tmp_path):
    folder = tmp_path / f"{name}-resumed"
    first = Sinks(tracker_of(name, outputs), info_of(folder))
    for step in (1, 2, 3):
        first.on_log(step, {"train/loss": 1 / step})
    assert first.close("interrupted")
    second = Sinks(tracker_of(name, outputs), info_of(folder, step=2))
    for step in (3, 4):
        second.on_log(step, {"train/loss": 1 / step})
    assert second.close("complete")
    read = READERS[name](folder, outputs)
    assert numbers_of(read.rows) == kept(name, {step: {"train/loss": 1 / step} for step in (1, 2, 3, 4)})
    assert read.state == ENDS[name]["complete"]


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("tensorboard", ""),  # its folder is a file
        ("mlflow", "tracker.tracking_uri=http://127.0.0.1:9"),
        ("mlflow", "tracker.store={folder}/tensorboard/mlflow.db"),
        ("trackio", "tracker.project=registry-x"),
    ],
)
def test_a_sink_that_can_t_be_used_is_said_once(name, word, outputs, tmp_path, caplog):
    logging.getLogger("finesweep").propagate = True
    info = info_of(tmp_path / "run")
    (info.folder / "tensorboard").touch()
    words = [word.format(folder=info.folder)] if word else []
    sinks = Sinks(tracker_of(name, outputs, *words), info)
    for step in range(5):
        sinks.on_log(step, {"train/loss": 1.0})
    assert sinks.close("complete")
    said = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(said) == 1, said
    assert "The tracker stopped working" in said[0]


class Told(NoTracker):
    """A tracker of the user's own; it keeps the state that each run ended in."""

    states: ClassVar[list[str]] = []

    def finish(self, state):
        self.states.append(state)


def test_the_tracker_is_told_how_the_run_ended(tiny_overrides):
    class Acting(Monitor):
        def __init__(self, act):
            self.on_evaluate = lambda step, metrics: act()

    def interrupt():
        raise Interrupted(15)

    told = Told.states
    told.clear()
    own = f"tracker._target_={__name__}.Told"
    diverging = ["trainer.learning_rate=1e30", "trainer.max_grad_norm=0"]
    for words, monitors in (
        ([], []),
        ([], [Acting(lambda: Decision.PRUNE)]),
        (diverging, []),
        ([], [Acting(interrupt)]),
    ):
        try:
            run(compose_config(*tiny_overrides, own, *words), monitors=monitors)
        except (ValueError, Interrupted):
            told.append("raised")
    assert told == ["complete", "pruned", "failed", "raised", "interrupted", "raised"]


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "trackio"])
@pytest.mark.parametrize("words", ["tracker={name}", "tracker=[none,{name}]"])
def test_a_package_that_is_missing_is_named_with_its_extra(name, words, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: None if n == name else found(n, *a))
    with pytest.raises(ConfigError) as raised:
        check(compose_config(words.format(name=name)), online=False)
    (fault,) = raised.value.faults
    assert fault.fix == f"pip install 'finesweep[{name}]'"


def test_the_trackers_import_nothing_of_their_tools():
    code = "import sys, finesweep.trackers; print(*(n for n in {names} if n in sys.modules))"
    names = (*NAMES, "torch", "transformers")
    done = subprocess.run([sys.executable, "-c", code.format(names=names)], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("", "")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["tracker=[wandb,tensorboard]", "tracker.wandb.mode=offline"],
            {"wandb": "offline", "tensorboard": None},
        ),
        (["tracker=[ 'mlflow', none ]"], {"mlflow": None, "none": None}),
    ],
)
def test_a_list_of_trackers_puts_each_under_its_name(words, expected):
    tracker = check(compose_config(*words), online=False)["tracker"]
    assert {n: node.get("mode") for n, node in tracker.items() if not n.startswith("_")} == expected
    assert list(build(tracker).trackers) == list(expected)


def test_a_choice_after_a_list_takes_its_place():
    once = [*spelled_out(["peft.r=4", "tracker=[wandb,none]", "tracker.none.x=1"])]
    assert once == ["peft.r=4", "tracker=several", *(f"+tracker@tracker.{n}={n}" for n in ("wandb", "none")),
                    "tracker.none.x=1"]  # fmt: skip
    assert [*spelled_out(once)] == once
    assert [*spelled_out([*once[:-1], "tracker=none"])] == ["peft.r=4", "tracker=none"]
    assert [*spelled_out(["tracker=[wandb,none]", "tracker=[none]"])] == [
        "tracker=several",
        "+tracker@tracker.none=none",
    ]


def test_the_local_stores_are_where_the_user_says(monkeypatch, tmp_path):
    uri = f"sqlite:///{tmp_path / 'mine.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    sinks = Sinks(tracker_of("mlflow", tmp_path / "outputs"), info_of(tmp_path / "run"))
    assert sinks.close("complete")
    assert (tmp_path / "mine.db").exists()
    assert not (tmp_path / "outputs").exists()
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
