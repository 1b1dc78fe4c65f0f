"""How many of a study's trials there are, are left and have ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

from finesweep.sweeps.outline import FINALIST, Outline, Outlines

AnyTrial = TypeVar("AnyTrial", bound=Outline)

FINISHED = ("COMPLETE", "PRUNED", "FAIL")


def states_of(trials: Sequence[Outline]) -> Counter[str]:
    """Return how many trials there are of each state."""
    return trials.states if isinstance(trials, Outlines) else Counter(trial.state.name for trial in trials)


def searched(trials: Sequence[AnyTrial]) -> list[AnyTrial]:
    """Return the trials of the search, which count as `n_trials`; finalists' runs come on top of them."""
    return [trial for trial in trials if FINALIST not in trial.user_attrs]


def num_searched(trials: Sequence[Outline]) -> int:
    """Return how many trials of the search there are."""
    return len(trials) - trials.num_finalists if isinstance(trials, Outlines) else len(searched(trials))


def num_left(trials: Sequence[Outline], n_trials: int) -> int:
    """Return how many of `n_trials` nobody has taken yet, those queued again included."""
    return max(0, n_trials - num_searched(trials)) + states_of(trials)["WAITING"]


def num_ended(trials: Sequence[Outline]) -> int:
    """Return how many trials have ended, however they did."""
    states = states_of(trials)
    return sum(states[state] for state in FINISHED)
