"""`finesweep confirm`: who is retrained, that nothing is trained twice, and what is said of it."""

import numpy as np
import pytest

from finesweep.commands.compare.groups import Group, read_run
from finesweep.commands.confirm.candidates import Candidate, Field, read_field
from finesweep.commands.confirm.command import judge
from finesweep.commands.confirm.retraining import retrain
from finesweep.errors import FinesweepError
from finesweep.runs.layout import RunFolder
from folders import draws, make_run, make_sweep, trial


def drawn(tmp_path, name, shares, rank):
    """Return a candidate's runs, one for each share of right answers; the rows are the same."""
    folders = [
        make_run(tmp_path / f"{name}-{i}", draws(share, seed=100 * rank + i), seed=i + 1, rank=rank)
        for i, share in enumerate(shares)
    ]
    return Group(name, {"peft.r": rank}, tuple(read_run(RunFolder(folder)) for folder in folders))


def field_of(*names):
    candidates = tuple(Candidate(name, {}, 0.95 if name != "default" else None, {}) for name in names)
    return Field("study", candidates, frozenset([0]), (), {}, 1.0)


def test_a_winner_that_wins_and_one_that_doesn_t_are_told_apart(tmp_path):
    groups = [
        drawn(tmp_path, "trial 3", [0.9, 0.9, 0.9], 2),
        drawn(tmp_path, "trial 1", [0.9, 0.9, 0.9], 4),
        drawn(tmp_path, "the default", [0.6, 0.6, 0.6], 8),
    ]
    found = judge(field_of("trial-3", "trial-1", "default"), groups, range(1, 4))
    assert [one["verdict"] for one in found["differences"]] == ["not told apart", "better"]
    assert "Trial 3 cannot be told apart from trial 1" in found["words"]
    assert "Trial 3 is better than the default" in found["words"]
    assert "the sweep had shown 0.9500 on validation" in found["words"]
    first = found["candidates"][0]
    assert first["low"] < first["mean"] < first["high"]
    assert first["sd"] == pytest.approx(np.std(first["values"], ddof=1))


def test_a_winner_that_loses_and_runs_that_failed_are_said(tmp_path):
    groups = [drawn(tmp_path, "trial 3", [0.6, 0.6], 2), drawn(tmp_path, "the default", [0.9, 0.9, 0.9], 8)]
    said = judge(field_of("trial-3", "default"), groups, range(1, 4))["words"]
    assert "Trial 3 is worse than the default" in said
    assert "The best mean is that of the default" in said
    assert "Not all runs were completed: trial 3 2 of 3." in said


@pytest.mark.parametrize("word", ["trainer.max_steps=9", "peft=dora", "+peft.r=2", "seed=3", "speedups=none"])
def test_words_that_change_what_was_found_are_refused(tmp_path, word):
    with pytest.raises(FinesweepError, match="would change the configurations"):
        retrain(tmp_path, field_of("trial-3", "default"), 3, ["hydra.sweeper.n_jobs=1", word], ())


def test_a_sweep_without_one_winner_is_refused(tmp_path):
    front = make_sweep(tmp_path / "front", [trial(0, values=(0.5, 2.0))], directions=("maximize", "minimize"))
    with pytest.raises(FinesweepError, match="none of its trials is the winner"):
        read_field(front, 3)
    none = make_sweep(tmp_path / "none", [trial(0, "PRUNED", (0.5,))])
    with pytest.raises(FinesweepError, match="no complete trial yet"):
        read_field(none, 3)
