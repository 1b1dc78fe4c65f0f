"""finesweep in Python: each public name, as its docstring shows it."""

import subprocess
import sys

import numpy as np
import pytest

import finesweep
from finesweep.errors import FinesweepError


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Work in a folder of its own, with a command line of one word."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["notebook"])
    return tmp_path


def test_a_run_gives_its_metrics_config_and_predictions(here, tiny_overrides):
    result = finesweep.run([*tiny_overrides, "peft.r=4"])
    assert result.metrics["test/accuracy"] >= 0
    assert result.config["peft"]["r"] == 4
    frame = result.predictions()
    assert frame.columns[:3] == ["id", "label", "predicted"]
    assert len(result.predictions("validation", pandas=True)) == 6
    with pytest.raises(FinesweepError, match="no predictions of this split"):
        result.predictions("train")
    with pytest.raises(FinesweepError, match="Did you mean"):
        finesweep.run(["peft.rr=4"])


def test_a_sweep_gives_its_leaderboard_and_its_best(here, tiny_overrides):
    words = [word for word in tiny_overrides if not word.startswith(("name", "output_dir"))]
    words += ["name=ranks", "peft.r=2,4", "hydra.sweeper.n_jobs=0", "hydra/sweeper/pruner=none"]
    found = finesweep.sweep(words)
    assert found.folder == here / "outputs" / "sweeps" / "ranks"
    assert sorted(found.leaderboard()["peft.r"]) == [2, 4]
    assert found.leaderboard(pandas=True)["state"].tolist() == ["complete"] * 2
    assert found.best.objective == max(found.leaderboard()["objective"])
    assert found.config["peft"]["r"] in (2, 4)
    assert "test/accuracy" in found.metrics
    assert len(found.predictions()) == 6
    assert found.report.is_file()
    assert "<table" in found._repr_html_()
    classify = finesweep.load(found.folder)
    assert classify("a cat")[0]["label"] in ("animals", "colours", "numbers")
    with pytest.raises(FinesweepError, match=r"peft\.rr"):
        finesweep.sweep(["peft.rr=2,4"])


def test_a_loaded_run_predicts_what_finesweep_does(here, finished):
    from finesweep.prediction import Predictor
    from finesweep.saved import SavedRun

    result = finished("trainer.learning_rate=0.01")
    texts = ["a cat and a dog " * 9, "one", "red green"]
    ours = Predictor(SavedRun.open(result.folder)).predict(texts)
    theirs = finesweep.load(result.folder)(texts, top_k=None)
    names = list(SavedRun.open(result.folder).schema.names)
    for row, scores in zip(ours.probabilities, theirs, strict=True):
        by_name = {score["label"]: score["score"] for score in scores}
        np.testing.assert_allclose(row, [by_name[name] for name in names], atol=1e-5)


def test_importing_it_imports_nothing_heavy():
    code = "import finesweep, sys; print([m for m in ('torch', 'hydra', 'rich') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
    with pytest.raises(AttributeError, match="no attribute 'swep'"):
        _ = finesweep.swep
