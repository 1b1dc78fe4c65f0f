"""The probe beside a run's result: measured once, of the splits that the run reads, never in its way."""

import json

import numpy as np
import pytest

from finesweep.commands.data.command import inspect_data, look
from finesweep.commands.data.text import lines_of
from finesweep.errors import ConfigError
from finesweep.runs.fitting import evaluate_saved
from finesweep.runs.layout import RunFolder
from finesweep.system.places import cache_folder
from finesweep.system.records import read_json


def probe_of(result):
    return json.loads((result.folder / "result.json").read_text())["probe"]


@pytest.fixture
def probed(finished, monkeypatch, tmp_path):
    """Return a function that runs the tiny config with a probe, in a cache of its own."""
    monkeypatch.setenv("FINESWEEP_CACHE", str(tmp_path / "cache"))
    return lambda *words: finished("baseline=auto", *words)


def test_it_is_measured_once_for_data_and_model_and_stands_beside_the_baseline(probed, capsys):
    first = probed()
    assert probe_of(first)["test/accuracy"] > 0.9  # the labels follow from the words
    assert set(first.metrics) == set(probe_of(first))
    assert "probe" in capsys.readouterr().out
    (kept,) = (cache_folder() / "probes").iterdir()
    np.save(kept / "validation.npy", np.eye(3)[np.zeros(6, int)])  # logits of the first label, throughout
    again = probed("trainer.learning_rate=0.01", "peft.r=2", "test=false")
    assert probe_of(again)["validation/accuracy"] == pytest.approx(1 / 3)
    assert not any(name.startswith("test/") for name in probe_of(again))
    assert probe_of(probed("seed=1"))["test/accuracy"] > 0.9
    assert [*(cache_folder() / "probes").iterdir()] == [kept]


def test_the_test_split_waits_until_the_run_reads_it(probed):
    run = probed("test=false")
    assert not any(name.startswith("test/") for name in probe_of(run))
    (kept,) = (cache_folder() / "probes").iterdir()
    assert {file.name for file in kept.iterdir()} == {"validation.npy", "lock"}
    evaluate_saved(RunFolder(run.folder), "test")
    assert probe_of(run)["test/accuracy"] > 0.9
    took = read_json(RunFolder(run.folder).result)["prediction"]
    assert (took["texts"] > 0, took["seconds"] > 0, took["device"]) == (True, True, "cpu")


def test_training_is_told_when_it_is_no_better(probed, capsys):
    run = probed("trainer.learning_rate=1e-9")
    assert run.metrics["test/accuracy"] < probe_of(run)["test/accuracy"]
    assert "this run is no better than it" in " ".join(capsys.readouterr().out.split())


def test_it_changes_no_bit_of_a_run_and_can_be_left_out(probed):
    without = probed("baseline=none")
    assert probe_of(without) == {}
    assert not (cache_folder() / "probes").exists()
    assert probed().metrics == without.metrics
    with pytest.raises(ConfigError, match=r"baseline[\s\S]*auto, none"):
        probed("baseline=nnone")


def test_a_probe_that_fails_takes_no_result_away(probed, caplog):
    run = probed()
    (kept,) = (cache_folder() / "probes").iterdir()
    (kept / "validation.npy").write_text("{")
    again = probed()
    assert again.metrics == run.metrics
    assert probe_of(again) == {}
    assert "couldn't be measured" in (again.folder / "train.log").read_text()


def test_it_can_be_looked_at_before_any_training(probed, tiny_overrides, capsys, tmp_path):
    words = [word for word in tiny_overrides if word != "baseline=none"]
    look(words, as_json=True, page=tmp_path / "data.html", with_probe=True)
    found = json.loads(capsys.readouterr().out)["probe"]
    assert set(found) == {"validation"}
    assert "<h2>Probe</h2>" in (tmp_path / "data.html").read_text()
    (kept,) = (cache_folder() / "probes").iterdir()
    assert {file.name for file in kept.iterdir()} == {"validation.npy", "lock"}
    run = probed("test=false")
    assert probe_of(run)["validation/accuracy"] == found["validation"]["accuracy"]
    assert [*(cache_folder() / "probes").iterdir()] == [kept]
    report = inspect_data(words, with_probe=True)
    assert "a linear model on the frozen encoder" in "\n".join(lines_of(report))
    with pytest.raises(ConfigError, match=r"--probe[\s\S]*baseline=none"):
        inspect_data(tiny_overrides, with_probe=True)
