"""What was masked is given again, or the run that needs it is refused with what to type."""

import json

import pytest
from omegaconf import OmegaConf

from finesweep.commands.report.record import open_study
from finesweep.commands.resume import resume
from finesweep.commands.train import train
from finesweep.config.origin import Origin
from finesweep.config.replay import give_again, masked_faults
from finesweep.config.rules import RULES
from finesweep.config.saved import read_config
from finesweep.errors import ConfigError, FinesweepError

SAVED = {"mine": {"password": "***", "tags": ["a", "***"], "url": "https://me:***@host/x", "plain": "a"}}
SOURCE = """
import csv

def read(file, password):
    if password != "canary-of-the-source":
        raise RuntimeError(f"not {password}")
    print("opened with", password)
    with open(file) as lines:
        return list(csv.DictReader(lines))
"""


def faults_of(origin):
    return [fault for rule in RULES[:2] for fault in rule({"name": "x", **SAVED}, origin)]


def test_each_value_that_was_masked_is_asked_for_by_its_key():
    faults = [
        fault for rule in RULES[:2] for fault in rule({"name": "x", **SAVED}, Origin(path="config.yaml"))
    ]
    assert [fault.rule.split()[0] for fault in faults] == ["mine.password", "mine.tags", "mine.url"]
    assert "Give it again: mine.password=..." in str(faults[0])
    assert str(faults[0]).startswith("config.yaml\n")


def test_what_is_given_again_and_what_was_never_saved_is_not_asked_for():
    assert list(masked_faults(SAVED, "config.yaml", ["mine"])) == []
    assert len(list(masked_faults(SAVED, "config.yaml", ["mine.password", "mine.tags"]))) == 1
    assert faults_of(Origin()) == []
    assert faults_of(Origin(path="config.yaml", reads=("name",))) == []


def test_only_what_was_masked_may_be_given_again():
    config = OmegaConf.create(SAVED)
    give_again(config, ["mine.password='a b'", "mine.url=https://host"])
    assert (config.mine.password, config.mine.url, config.mine.plain) == ("a b", "https://host", "a")
    with pytest.raises(ConfigError, match="runs as it was saved"):
        give_again(config, ["mine.plain=b"])


def test_a_run_goes_on_with_its_secret_given_again(finished):
    result = finished("+mine.password=canary")
    (result.folder / "status.json").write_text(json.dumps({"state": "interrupted"}))
    with pytest.raises(ConfigError, match=r"mine\.password was masked[\s\S]*Give it again: mine\.password="):
        resume(result.folder)
    resume(result.folder, ["mine.password=canary"])
    assert read_config(result.folder / "config.yaml")["mine"] == {"password": "***"}


def test_a_sweep_knows_its_secret_to_the_end_and_leaves_it_nowhere(
    tiny_overrides, tmp_path, monkeypatch, capfd
):
    (tmp_path / "guarded_rows.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    kept = [
        word for word in tiny_overrides if not word.startswith(("data", "name=", "output_dir", "threads"))
    ]
    words = [*kept, "name=study", "data=python", "data.source.function=guarded_rows.read",
             "+data.source.file=tiny.csv", "+data.source.password=canary-of-the-source", "peft.r=2,4",
             "hydra.sweeper.n_jobs=0"]  # fmt: skip
    train(["-m", *words])
    folder = tmp_path / "outputs" / "sweeps" / "study"
    assert "test/accuracy" in (folder / "leaderboard.csv").read_text().splitlines()[0]
    output = capfd.readouterr()
    assert "opened with ***" in output.out
    assert "canary" not in output.out + output.err
    assert not [f for f in folder.rglob("*") if f.is_file() and b"canary-of-the-source" in f.read_bytes()]
    with pytest.raises(FinesweepError, match=r"data\.source\.password was masked[\s\S]*Give it again"):
        resume(folder)
    resume(folder, ["+data.source.password=canary-of-the-source"])
    assert json.loads((folder / "status.json").read_text())["state"] == "complete"


def test_a_secret_is_no_axis_unless_it_stays_in_the_environment(tiny_overrides, capfd):
    with pytest.raises(SystemExit):
        train(["-m", *tiny_overrides, "+mine.password=canary-one,canary-two", "hydra.sweeper.n_jobs=0"])
    said = capfd.readouterr().err
    assert "these hold a secret" in said
    assert "+mine.password='${oc.env:FIRST}','${oc.env:SECOND}'" in said
    assert "canary" not in said


def test_a_study_behind_a_masked_password_says_what_to_write(tmp_path):
    content = {"study_name": "s", "settings": {"storage": "postgresql://me:***@host/studies"}}
    with pytest.raises(FinesweepError, match=r"storage was masked[\s\S]*oc\.env:NAME"):
        open_study(tmp_path, content)
