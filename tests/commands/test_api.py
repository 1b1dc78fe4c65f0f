"""finesweep in Python: each public name, as its docstring shows it."""

import subprocess
import sys
from doctest import DocTestParser

import numpy as np
import polars as pl
import pytest

import finesweep
import finesweep.commands.api
from finesweep.errors import FinesweepError


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Work in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def examples(of) -> list[tuple[str, bool]]:
    """Return the lines of a docstring's examples, and whether each shows a value."""
    return [(example.source, bool(example.want)) for example in DocTestParser().get_examples(of.__doc__)]


def run_examples(name: str, names: dict, overrides: list[str]) -> None:
    """Run a docstring's examples with a tiny run's overrides; what shows a value must give one."""
    found = examples(getattr(finesweep, name))
    assert found
    for text, is_shown in found:
        source = text.replace('"experiment=quick"', "*overrides").replace("p/tech", "p/numbers")
        names["overrides"] = overrides
        if is_shown:
            assert eval(source, names) is not None
        else:
            exec(source, names)


def test_each_public_name_s_example_runs_and_gives_what_it_says(here, tiny_overrides):
    words = [word for word in tiny_overrides if not word.startswith(("name", "output_dir"))]
    of_sweep = [*words, "hydra.sweeper.n_jobs=0", "hydra/sweeper/pruner=none"]
    names: dict = {"finesweep": finesweep, "pl": pl}
    for name in ("run", "RunResult", "load"):
        run_examples(name, names, words)
    result = names["result"]
    assert result.config["trainer"]["max_steps"] == 4
    assert result.predictions().columns[:3] == ["id", "label", "predicted"]
    assert len(result.predictions("validation", pandas=True)) == 6
    with pytest.raises(FinesweepError, match="no predictions of this split"):
        result.predictions("train")
    for name in ("sweep", "SweepResult"):
        run_examples(name, names, of_sweep)
    found = names["found"]
    assert sorted(found.leaderboard()["peft.r"]) == [2, 4]
    assert names["board"]["state"].tolist() == ["complete"] * 2
    assert found.best.objective == max(found.leaderboard()["objective"])
    assert found.report.is_file()
    assert {"history", "parallel", "timeline", "slice/peft.r"} <= found.figures().keys()
    assert "<table" in found._repr_html_()
    assert finesweep.load(found.folder)("a cat")[0]["label"] in ("animals", "colours", "numbers")
    names = {"run", "RunResult", "load", "sweep", "SweepResult", "current_trial"}
    assert set(finesweep.__all__) == names


def test_mistakes_are_raised(here):
    with pytest.raises(FinesweepError, match="Did you mean"):
        finesweep.run(["peft.rr=4"])
    with pytest.raises(FinesweepError, match=r"peft\.rr"):
        finesweep.sweep(["peft.rr=2,4"])


def test_a_loaded_run_predicts_what_finesweep_does(here, finished):
    from finesweep.commands.predict import Predictor
    from finesweep.runs.saved import SavedRun

    result = finished("trainer.learning_rate=0.01")
    texts = ["a cat and a dog " * 9, "one", "red green"]
    ours = Predictor(SavedRun.open(result.folder)).predict(texts)
    theirs = finesweep.load(result.folder)(texts, top_k=None)
    names = list(SavedRun.open(result.folder).schema.names)
    for row, scores in zip(ours.probabilities, theirs, strict=True):
        by_name = {score["label"]: score["score"] for score in scores}
        np.testing.assert_allclose(row, [by_name[name] for name in names], atol=1e-5)


def test_a_sweep_goes_where_its_words_say(here, tiny_overrides):
    words = [word for word in tiny_overrides if not word.startswith(("output_dir", "name"))]
    before = list(sys.argv)
    words += ["output_dir='my results'", "name='first'", "hydra.sweeper.n_jobs=0", "peft.r=2,4"]
    found = finesweep.sweep([*words, "hydra.sweeper.n_trials=1"])
    assert found.folder == here / "my results" / "sweeps" / "first"
    assert found.best.state == "complete"
    assert sys.argv == before


def test_importing_it_imports_nothing_heavy():
    code = "import finesweep, sys; print([m for m in ('torch', 'hydra', 'rich') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
    with pytest.raises(AttributeError, match="no attribute 'swep'"):
        _ = finesweep.swep
