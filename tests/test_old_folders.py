"""Folders that an earlier finesweep left stay usable.

`old_folders/` was written on 2026-11-27 by the commit before the source was sorted into rooms: three runs,
one of them cut off, and a sweep, with a model of 7,000 weights; paths begin with /place.
"""

import json
import shutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from typer.testing import CliRunner

from finesweep.commands.cli import app
from finesweep.config.check import check
from finesweep.config.origin import Origin
from finesweep.config.saved import read_config
from finesweep.runs.layout import RunFolder

OLD = Path(__file__).parent / "old_folders"


@pytest.fixture
def old(tmp_path, monkeypatch):
    """Return a copy of the folders, with the paths that they would have if they had been written there."""
    place = tmp_path / "place"
    shutil.copytree(OLD, place, symlinks=True)
    for link in (file for file in place.rglob("*") if file.is_symlink()):
        target = str(link.readlink()).replace("/place", str(place))
        link.unlink()
        link.symlink_to(target)
    for file in place.rglob("*.yaml"):
        file.write_text(file.read_text().replace("/place", str(place)))
    monkeypatch.chdir(place)
    return place


def call(*words: str) -> str:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return done.output


def the(pattern: str) -> str:
    (found,) = Path().glob(pattern)
    return str(found)


def test_they_are_listed(old):
    listed = json.loads(call("ls", ".", "--json"))
    states = {Path(one["folder"]).parts[1]: one["state"] for one in listed}
    assert states == {"lora": "complete", "bitfit": "complete", "adalora": "interrupted", "sweep": "complete"}


@pytest.mark.parametrize("pattern", ["runs/*/*", "sweeps/*/trials/*"])
def test_their_configs_are_right(old, pattern):
    folders = list(Path().glob(pattern))
    assert len(folders) == 3
    for folder in folders:
        check(OmegaConf.create(read_config(folder / "config.yaml")), Origin(), online=False)


@pytest.mark.parametrize("name", ["lora", "bitfit"])
def test_a_run_is_reproduced(old, name):
    folder = the(f"runs/{name}/*")
    CliRunner().invoke(app, ["reproduce", folder])  # on another processor the last bits differ
    (again,) = set(Path(folder).parent.iterdir()) - {Path(folder)}
    before, after = (json.loads((run / "result.json").read_text()) for run in (Path(folder), again))
    assert before["objective"] == after["objective"]
    assert speedups_of(again) == speedups_of(Path(folder)) == ["fast-dropout", "first-token"]


def speedups_of(folder):
    return json.loads((folder / "provenance.json").read_text())["speedups"]


def test_a_run_that_was_cut_off_goes_on(old):
    folder = the("runs/adalora/*")
    said = call("resume", folder)
    assert "step 10 of 40:" in said
    assert "step 5 of 40:" not in said
    assert RunFolder(Path(folder)).state() == "complete"
    assert speedups_of(Path(folder)) == ["fast-dropout", "first-token"]


def test_a_sweep_goes_on(old):
    call("resume", "sweeps/sweep", "hydra.sweeper.n_trials=4")
    added = RunFolder(Path("sweeps/sweep/trials/3"))
    assert added.state() == "complete"
    assert "eval_rows" not in read_config(added.config)["trainer"]  # as the trials before it


@pytest.mark.parametrize("path", ["runs/lora/*", "runs/bitfit/*", "sweeps/sweep"])
def test_they_answer(old, path):
    call("predict", the(path), "rows.csv", "--output", "answers.csv")
    assert len(Path("answers.csv").read_text().splitlines()) == 61


def test_they_are_exported(old):
    call("export", the("runs/lora/*"), "merged", "--to", "merged")
    assert Path("merged/model.safetensors").is_file()


def test_they_are_reported_and_searched_around(old):
    call("report", "sweeps/sweep")
    assert Path("sweeps/sweep/report.html").is_file()
    words = [
        "--config-path",
        the("runs/bitfit/*"),
        "--config-name",
        "config",
        "name=anew",
        "trainer.max_steps=1",
    ]
    call("train", *words)
