"""How many of a study's trials there are, are left and have ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from finesweep.sweeps.outline import FINALIST, Outline

AnyTrial = TypeVar("AnyTrial", bound=Outline)


def searched(trials: Sequence[AnyTrial]) -> list[AnyTrial]:
    """Return the trials of the search, which count as `n_trials`; finalists' runs come on top of them."""
    return [trial for trial in trials if FINALIST not in trial.user_attrs]


def num_left(trials: Sequence[Outline], n_trials: int) -> int:
    """Return how many of `n_trials` nobody has taken yet, those queued again included."""
    return max(0, n_trials - len(searched(trials))) + sum(trial.state.name == "WAITING" for trial in trials)


def num_ended(trials: Sequence[Outline]) -> int:
    """Return how many trials have ended, however they did."""
    return sum(trial.state.is_finished() for trial in trials)
