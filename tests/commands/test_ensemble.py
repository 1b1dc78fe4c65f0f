"""The mean of a sweep's best trials: what it predicts, what it gains, what can't be averaged."""

import json

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from finesweep.commands.cli import app
from finesweep.commands.evaluate.command import evaluate
from finesweep.commands.predict import Predictor
from finesweep.commands.predict.command import predict
from finesweep.commands.predict.ensemble import EnsemblePredictor
from finesweep.data.labels import MULTI, REGRESSION, SINGLE, LabelSchema
from finesweep.errors import FinesweepError
from finesweep.metrics.scores import Scored, averaged
from finesweep.runs.ensemble import Ensemble
from finesweep.runs.saved import SavedRun
from tiny import task, tiny_sweep

TEXTS = ["the cat number 3 is horse", "", "the red number 4 is blue", "nothing known"]


@pytest.fixture(scope="module")
def words(tmp_path_factory, tiny_model, tiny_csv_text):
    """Return the overrides of a tiny run; those that differ between trials are left out."""
    file = tmp_path_factory.mktemp("data") / "tiny.csv"
    file.write_text(tiny_csv_text)
    return [
        "data=csv", f"data.source.train={file}", f"model.name={tiny_model}", "tokenizer.max_length=16",
        "trainer.per_device_train_batch_size=8", "trainer.max_steps=6", "trainer.eval_steps=3",
        "tracker=none", "threads=1", "baseline=none",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def sweep(words, tmp_path_factory):
    """Return a sweep of three complete trials and a pruned one."""
    points = [[f"seed={seed}", "trainer.learning_rate=0.005"] for seed in range(3)]
    return tiny_sweep(tmp_path_factory.mktemp("sweep") / "study", words, points)


def test_probabilities_are_averaged_over_the_trials_that_each_row_names(sweep, tmp_path, capsys):
    (tmp_path / "new.csv").write_text("\n".join(["text,n", *(f'"{text}",1' for text in TEXTS)]) + "\n")
    for ending in ("csv", "parquet"):
        out = tmp_path / f"out.{ending}"
        assert not predict(sweep, str(tmp_path / "new.csv"), output=out, top=2)
    found, trials = pl.read_parquet(tmp_path / "out.parquet"), Ensemble.open(sweep, 2).trials
    assert found["trials"].to_list() == [[*trials]] * 4
    assert pl.read_csv(tmp_path / "out.csv")["trials"].to_list() == [f"{trials[0]}|{trials[1]}"] * 4
    each = [Predictor(SavedRun.open(sweep / "trials" / str(n))).predict(TEXTS).probabilities for n in trials]
    mean = np.mean(each, axis=0)
    shares = found.select(pl.col("^p/.*$")).to_numpy()
    good = [0, 2, 3]
    np.testing.assert_allclose(shares[good], mean[good], atol=1e-6)
    names = np.array(["animals", "colours", "numbers"])
    assert found["predicted"].to_list() == [*names[mean[:1].argmax(1)], None, *names[mean[2:].argmax(1)]]
    assert found["problem"].to_list() == [None, "empty text", None, None]
    said = capsys.readouterr().err
    assert f"Mean of trials {trials[0]}, {trials[1]}." in said
    assert "On the 6 validation rows" in said


def test_the_gain_is_that_of_the_stored_validation_predictions(sweep):
    ensemble = Ensemble.open(sweep, 3)
    stored = [
        pl.read_parquet(run.folder.predictions / "validation.parquet") for run in ensemble.runs.values()
    ]
    mean = np.mean([table.select(pl.col("^p/.*$")).to_numpy() for table in stored], axis=0)
    truth = [ensemble.best.schema.names.index(label) for label in stored[0]["label"]]
    assert ensemble.gain.value == pytest.approx((mean.argmax(1) == truth).mean())
    assert ensemble.gain.best == pytest.approx((stored[0]["label"] == stored[0]["predicted"]).mean())
    assert ensemble.gain.difference.mean == pytest.approx(ensemble.gain.value - ensemble.gain.best)
    assert not list(sweep.glob("trials/*/predictions/test.parquet"))


def test_evaluate_alone_reads_the_test_split_and_says_which_trials_it_was(sweep, few_resamples):
    said = CliRunner().invoke(app, ["evaluate", str(sweep), "--top", "3"])
    assert said.exit_code == 0, said.output
    trials = Ensemble.open(sweep, 3).trials
    assert f"Mean of trials {', '.join(map(str, trials))}." in said.stdout
    stored = json.loads((sweep / "evaluation-top3.json").read_text())
    assert stored["trials"] == [*trials]
    assert stored["rows"] == 6
    assert stored["gain"]["difference"]["rows"] == 6
    assert "Mean of trials" in (sweep / "evaluation-top3.html").read_text()
    assert not list(sweep.glob("trials/*/evaluation*"))


def test_more_than_there_are_is_all_there_are_and_said(sweep, tmp_path, capsys):
    assert predict(sweep, None, texts=["a cat"], top=9)
    assert "9 were asked for; no more are complete." in capsys.readouterr().err
    (tmp_path / "leaderboard.csv").write_text("number,state\n0,pruned\n")
    with pytest.raises(FinesweepError, match="no complete trial yet"):
        Ensemble.open(tmp_path, 3)
    with pytest.raises(FinesweepError, match=r"--top[\s\S]*has no leaderboard[\s\S]*Name a sweep's folder"):
        Ensemble.open(sweep / "trials" / "0", 3)


def test_one_trial_is_the_best_alone(sweep):
    ensemble = Ensemble.open(sweep, 1)
    alone = Predictor(SavedRun.open(sweep)).predict(TEXTS)
    same = EnsemblePredictor(ensemble).predict(TEXTS)
    np.testing.assert_array_equal(same.probabilities, alone.probabilities)
    assert ensemble.sentences() == (f"Trial {ensemble.trials[0]} alone.",)


def test_trials_that_differ_in_what_they_read_or_predict_are_refused(words, tmp_path, tiny_csv_text):
    fewer = [line for line in tiny_csv_text.splitlines() if not line.endswith("colours")]
    (tmp_path / "fewer.csv").write_text("\n".join(fewer))
    points = [[], [f"data.source.train={tmp_path / 'fewer.csv'}"], ["data.split.seed=1"]]
    sweep = tiny_sweep(tmp_path / "study", words, points)
    board = sweep / "leaderboard.csv"
    board.write_text("number,state\n0,complete\n1,complete\n")
    with pytest.raises(FinesweepError, match="Trials 0 and 1 predict different labels: animals, co"):
        Ensemble.open(sweep, 2)
    board.write_text("number,state\n0,complete\n2,complete\n")
    ensemble = Ensemble.open(sweep, 2)
    assert ensemble.gain is None
    assert "different rows" in ensemble.sentences()[1]
    with pytest.raises(FinesweepError, match=r"Trials 0 and 2 have different test splits[\s\S]*--top 1"):
        evaluate(sweep, top=2)


def test_tags_of_words_are_refused(tiny_overrides, tmp_path):
    _, words = task("token-classification", tiny_overrides, tmp_path)
    sweep = tiny_sweep(tmp_path / "study", words, [[], []])
    with pytest.raises(FinesweepError, match="Tags of words can't be averaged"):
        Ensemble.open(sweep, 2)


def test_several_labels_have_thresholds_of_the_mean_itself(tiny_overrides, tmp_path):
    _, words = task("multi-label", tiny_overrides, tmp_path)
    sweep = tiny_sweep(tmp_path / "study", [*words, "trainer.learning_rate=0.01"], [["seed=0"], ["seed=1"]])
    ensemble = Ensemble.open(sweep, 2)
    found = EnsemblePredictor(ensemble).predict(["the red and green thing", "blue"])
    names, least = ensemble.best.schema.names, np.array(ensemble.thresholds)
    given = [[names[i] for i in np.flatnonzero(row >= least)] for row in found.probabilities]
    assert found.predicted == given
    assert ensemble.gain is not None


def test_what_an_average_is():
    one, two = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([[0.3, 0.7], [0.4, 0.6]])
    members = [Scored(None, [0, 1], one), Scored(None, [0, 1], two)]
    mean = averaged(members, LabelSchema(("a", "b"), ("a", "b"), SINGLE))
    np.testing.assert_allclose(mean.probabilities, [[0.6, 0.4], [0.3, 0.7]])
    assert mean.predicted.tolist() == [0, 1]
    several = averaged(members, LabelSchema(("a", "b"), ("a", "b"), MULTI), (0.3, 0.69))
    assert several.predicted.tolist() == [[1, 0], [1, 1]]
    numbers = [Scored(np.array([1.0, 4.0]), None), Scored(np.array([2.0, 8.0]), None)]
    assert averaged(numbers, LabelSchema(("x",), (), REGRESSION)).predicted.tolist() == [1.5, 6.0]
