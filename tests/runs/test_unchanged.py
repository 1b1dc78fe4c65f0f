"""What was trained on is what is evaluated, gone on with, confirmed: or it is said that it changed."""

import json
from functools import partial

import optuna
import pytest

from composing import compose_config
from finesweep.commands.confirm.candidates import Candidate, Field
from finesweep.commands.confirm.retraining import retrain
from finesweep.commands.evaluate import command as evaluation
from finesweep.commands.resume import resume
from finesweep.config.saved import read_config
from finesweep.errors import DataError, FinesweepError
from finesweep.runs.fitting import evaluate_saved
from finesweep.runs.layout import RunFolder
from finesweep.runs.run import run
from finesweep.sweeps.job import _check_same_data
from finesweep.sweeps.trial import CurrentTrial

# As many resamples as the page needs; how well intervals cover has a test of its own.
evaluate = partial(evaluation.evaluate, resamples=30)


@pytest.fixture
def finished_run(tiny_overrides):
    return RunFolder(run(compose_config(*tiny_overrides)).folder)


def relabel(file):
    text = file.read_text()
    file.write_text(text.replace("animals", "?").replace("colours", "animals").replace("?", "colours"))


def rewrite(file):
    file.write_text(file.read_text().replace("number 7 ", "number seven "))


@pytest.mark.parametrize(
    ("change", "said"), [(relabel, "labels or their order"), (rewrite, "1 rows that it hadn't")]
)
def test_data_that_changed_are_refused_and_nothing_is_overwritten(
    change, said, finished_run, tiny_csv, capsys
):
    evaluate(finished_run.path)
    before = (finished_run.path / "evaluation.json").read_bytes()
    change(tiny_csv)
    with pytest.raises(DataError, match=rf"{said}[\s\S]*--changed"):
        evaluate(finished_run.path)
    with pytest.raises(FinesweepError, match="data changed since it was begun"):
        evaluate_saved(finished_run, "test")
    assert (finished_run.path / "evaluation.json").read_bytes() == before
    assert evaluate(finished_run.path, changed=True).on == "test split of changed data"
    assert (finished_run.path / "evaluation.json").read_bytes() == before
    assert (finished_run.path / "evaluation-changed.json").is_file()
    assert evaluate(finished_run.path, [f"data.source.train={tiny_csv}"]).rows == 6


def test_a_run_does_not_go_on_with_other_data(finished_run, tiny_csv):
    finished_run.status.write_text(json.dumps({"state": "interrupted"}))
    provenance = finished_run.provenance.read_bytes()
    relabel(tiny_csv)
    with pytest.raises(FinesweepError, match="Its data changed since it was begun"):
        resume(finished_run.path)
    assert finished_run.provenance.read_bytes() == provenance


def test_a_run_does_not_go_on_with_another_model_of_the_same_name(finished_run):
    record = json.loads(finished_run.provenance.read_text())
    record["fingerprints"]["model"]["weights"] = "another"
    finished_run.provenance.write_text(json.dumps(record))
    finished_run.status.write_text(json.dumps({"state": "interrupted"}))
    with pytest.raises(FinesweepError, match="Its model weights changed since it was begun"):
        resume(finished_run.path)


def test_trials_of_a_study_read_the_same_data(tmp_path):
    study = optuna.create_study()
    trials = [CurrentTrial(i, tmp_path, "study", study.ask()) for i in range(4)]
    for trial, key, data in zip(trials[:3], ("a", "b", "a"), ("one", "two", "one"), strict=True):
        _check_same_data(trial, key, {"data": data})
    with pytest.raises(DataError, match="changed since trial 0 read them"):
        _check_same_data(trials[3], "a", {"data": "other"})


def test_a_winner_is_not_confirmed_on_other_data(finished_run, tiny_csv, tmp_path):
    (tmp_path / "sweep" / "trials").mkdir(parents=True)
    finished_run.path.rename(tmp_path / "sweep" / "trials" / "3")
    config = read_config(tmp_path / "sweep" / "trials" / "3" / "config.yaml")
    field = Field("study", (Candidate("trial-3", {}, 0.9, config),), frozenset([0]), (), config, 1.0)
    relabel(tiny_csv)
    with pytest.raises(DataError, match="Its data are not what they were"):
        retrain(tmp_path / "sweep", field, 2, [], ())
    assert not (tmp_path / "sweep" / "confirm").exists()
