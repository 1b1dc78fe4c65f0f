"""What a stranger's sweep can't make a command do."""

from __future__ import annotations

import os
import pickle
import shutil
from contextlib import suppress

import optuna
import pytest
from omegaconf import OmegaConf

from finesweep.commands.confirm.candidates import Candidate, Field
from finesweep.commands.confirm.command import confirm
from finesweep.commands.confirm.retraining import _write_choices
from finesweep.commands.listing import clean
from finesweep.commands.report.command import write_report
from finesweep.commands.report.dashboard import for_this_machine, serve
from finesweep.commands.resume import resume
from finesweep.commands.work.command import work
from finesweep.config.saved import read_config
from finesweep.errors import FinesweepError
from finesweep.runs.saved import SavedRun
from finesweep.sweeps.pickles import check_states, guard_samplers

MARK = "ran"
COMMANDS = {"report": write_report, "confirm": confirm, "resume": resume, "dashboard": serve}
STORAGES = {
    "a target": ({"_target_": "os.mkdir", "path": MARK}, "os.mkdir"),
    "positions": ({"_target_": "optuna.storages.RDBStorage", "_args_": ["postgresql://evil/x"]}, "optuna"),
    "an address": ("postgresql://evil.example/x", "storage"),
    "an address with a secret": ("postgresql://evil.example/${oc.env:HOME}", "storage"),
    "a file elsewhere": ("sqlite:////tmp/elsewhere.db", "storage"),
}


class Evil:
    """What unpickles into a call."""

    def __reduce__(self):
        return os.mkdir, (MARK,)


def _refused(command, capsys, *arguments) -> str:
    with pytest.raises((FinesweepError, SystemExit)) as refusal:
        command(*arguments)
    assert getattr(refusal.value, "code", 2) != 0
    return str(refusal.value) + capsys.readouterr().err


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("command", ["report", "confirm", "dashboard"])
@pytest.mark.often("report-*", "confirm-a target", "dashboard-a target")
def test_no_storage_is_built_and_no_connection_opened(command, storage, sweep, capsys):
    value, asked = STORAGES[storage]
    content = OmegaConf.load(sweep / "sweep.yaml")
    OmegaConf.update(content, "settings.storage", value, force_add=True)
    OmegaConf.save(content, sweep / "sweep.yaml")
    assert f"--trust {asked}" in _refused(COMMANDS[command], capsys, sweep)
    assert not os.path.exists(MARK)


@pytest.mark.parametrize(
    "word",
    [
        "+hydra.callbacks.evil={_target_: os.mkdir, path: ran}",
        "hydra.searchpath=[file:///tmp]",
        "hydra.run.dir=/tmp",
        "--config-dir=/tmp",
        "--trust=os.mkdir",
    ],
)
@pytest.mark.parametrize("command", [resume, work])
@pytest.mark.often(every=4)
def test_words_that_a_sweep_doesn_t_write_are_not_typed_again(command, word, sweep, capsys):
    content = OmegaConf.load(sweep / "sweep.yaml")
    content.overrides.append(word)
    OmegaConf.save(content, sweep / "sweep.yaml")
    assert "--trust hydra" in _refused(command, capsys, sweep)
    assert not os.path.exists(MARK)


@pytest.mark.parametrize(
    "word",
    [
        "data.source._target_=os.mkdir",
        "data.source._target_=os.mkdir,os.rmdir",
        "hydra.sweeper.storage=postgresql://evil/x",
        "hydra.sweeper.custom_search_space=os.mkdir",
        "hydra.sweeper.sampler._target_=os.mkdir",
        "hydra.launcher._target_=os.mkdir",
        "hydra.sweeper._target_=os.mkdir",
    ],
)
@pytest.mark.parametrize("command", [resume, work])
@pytest.mark.often(
    "resume-data.source._target_=os.mkdir", "resume-hydra.sweeper.storage*", "resume-hydra.launcher*"
)
def test_words_that_are_typed_again_are_judged(command, word, sweep, tmp_path, capsys):
    (tmp_path / "rows.csv").write_text("text,label\na,b\n")
    content = OmegaConf.load(sweep / "sweep.yaml")
    content.overrides.extend([f"data.source.train={tmp_path / 'rows.csv'}", word])
    OmegaConf.save(content, sweep / "sweep.yaml")
    assert "--trust" in _refused(command, capsys, sweep)


def test_a_sampler_s_state_is_read_as_numbers_alone():
    guard_samplers()
    study = optuna.create_study(sampler=optuna.samplers.CmaEsSampler(seed=0, n_startup_trials=1))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1) + trial.suggest_float("y", 0, 1), n_trials=30)
    check_states(study.trials)  # its own come back
    attributes = {"cma:optimizer:0": pickle.dumps(Evil()).hex()}
    bad = optuna.create_trial(value=0.0, system_attrs=attributes)
    with pytest.raises(FinesweepError, match="mkdir"):
        check_states([*study.trials, bad])
    with pytest.raises(FinesweepError, match="mkdir"):
        study.sampler._restore_optimizer([bad])
    assert not os.path.exists(MARK)


@pytest.mark.parametrize(
    "name", ["report.html", "pictures", "workers", "trials/0/predictions", "trials/0/train.log"]
)
def test_links_out_of_a_sweep_are_not_followed(name, sweep, tmp_path, capsys):
    outside = tmp_path / "outside"
    outside.mkdir()
    place = sweep / name
    if place.is_dir():
        place.rename(tmp_path / "before")
    place.unlink(missing_ok=True)
    place.symlink_to(outside)
    for command in (write_report, confirm, resume):
        assert "link out of this folder" in _refused(command, capsys, sweep)
    assert not list(outside.iterdir())


def test_links_out_of_a_run_are_not_followed_and_those_to_its_weights_are(received, tmp_path, capsys):
    assert SavedRun.open(received).model() is not None
    (received / "train.log").unlink()
    (received / "train.log").symlink_to(tmp_path / "outside.txt")
    assert "link out of this folder" in _refused(SavedRun.open, capsys, received)


def test_a_leaderboard_s_number_is_no_path(sweep, capsys):
    (sweep / "leaderboard.csv").write_text("number,state\n../../received,complete\n")
    assert "number" in _refused(SavedRun.open, capsys, sweep)


def test_names_with_markup_make_safe_pictures(sweep):
    study = optuna.load_study(study_name="theirs", storage=f"sqlite:///{sweep / 'study.db'}")
    name = "../<b>$x_{" + "y" * 300
    for value in (0.1, 0.2, 0.3, 0.4, 0.5):
        axis = {name: optuna.distributions.FloatDistribution(0, 1)}
        study.add_trial(optuna.create_trial(value=value, params={name: value}, distributions=axis))
    assert write_report(sweep).is_file()
    assert all(file.parent == sweep / "pictures" for file in sweep.rglob("slice-*.png"))


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("127.0.0.1:1", None, "200"),
        ("localhost:1", "http://localhost:1", "200"),
        ("evil.example:1", None, "403"),
        ("127.0.0.1:1", "http://evil.example", "403"),
        (None, None, "403"),
    ],
)
def test_the_dashboard_answers_this_machine_alone(host, origin, status):
    said = []

    def app(_environ, start):
        start("200 OK", [])
        return []

    environ = {key: value for key, value in (("HTTP_HOST", host), ("HTTP_ORIGIN", origin)) if value}
    for_this_machine(app, 1)(environ, lambda code, _headers: said.append(code[:3]))
    assert said == [status]


def test_what_lies_where_a_confirmation_writes_its_choices_is_gone(sweep):
    place = sweep / "confirm" / "choices"
    (place / "hydra" / "launcher").mkdir(parents=True)
    (place / "hydra" / "launcher" / "basic.yaml").write_text("_target_: evil.run\n")
    config = read_config(sweep / "trials" / "0" / "config.yaml")
    one = Candidate("trial-0", {}, None, config)
    _write_choices(place, Field("theirs", (one,), frozenset([0]), (), config, 1.0))
    assert sorted(file.name for file in place.rglob("*.yaml")) == ["confirm.yaml", "trial-0.yaml"]


@pytest.mark.parametrize("link", ["checkpoints", "checkpoints/checkpoint-1"])
def test_what_a_link_names_is_not_removed(link, received, tmp_path):
    outside = tmp_path / "outside"
    (outside / "checkpoint-1").mkdir(parents=True)
    (outside / "checkpoint-1" / "kept").write_text("")
    shutil.rmtree(received / "checkpoints")
    if link != "checkpoints":
        (received / "checkpoints").mkdir()
    (received / link).symlink_to(outside)
    with suppress(FinesweepError):
        clean(received)
    assert (outside / "checkpoint-1" / "kept").exists()
