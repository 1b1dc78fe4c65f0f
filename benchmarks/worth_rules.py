"""The search rules that are compared: what is typed beside `python train.py -m`, and what isn't there yet."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from worth_tables import Curve

PRIOR, HISTORY = "prior", "history"
SMOOTHED = 3  # evaluations


def by_metric(curve: Curve) -> Sequence[float]:
    """Report the objective, as finesweep does."""
    return curve.metric


def by_lowest(curve: Curve) -> Sequence[float]:
    """Report the lowest validation loss so far."""
    return [-loss for loss in accumulate(curve.loss, min)]


def by_mean(curve: Curve) -> Sequence[float]:
    """Report the mean of the last evaluations."""
    metric = curve.metric
    return [statistics.fmean(metric[max(0, end - SMOOTHED) : end]) for end in range(1, len(metric) + 1)]


def by_best(curve: Curve) -> Sequence[float]:
    """Report the best so far, which is what a trial is worth in the end."""
    return list(accumulate(curve.metric, max))


@dataclass(frozen=True)
class Search:
    """A search rule.

    Args:
        words: what is typed beside `python train.py -m`.
        memory: whose points are tried early: `prior`, every other table whole; `history`, what searches by
            the earlier default found on the three tables that are most alike; nothing.
        reports: from a run's curve to what the pruner is told after each evaluation as the objective.
        grace: a trial is not pruned that is behind the best by no more than this share of the half-width
            of the config as it stands.
        spares: whether that one and the startup trials are never pruned.
        keeps: whether the config as it stands is named unless the winner beats it by more than luck.
    """

    words: tuple[str, ...] = ()
    memory: str = ""
    reports: Callable[[Curve], Sequence[float]] = by_metric
    grace: float = 0.0
    spares: bool = True
    keeps: bool = False


NO_PRUNING = Search(("hydra/sweeper/pruner=none",))
A_THIRD_SPARED = "hydra.sweeper.n_startup_trials=auto"
FACTOR_3 = "hydra.sweeper.pruner.reduction_factor=3"
MEDIAN = "hydra/sweeper/pruner=median"


def _asha(*words: str, by: str = "objective", first: int = 1) -> Search:
    """Return successive halving by the objective or by loss, first after so many evaluations."""
    return Search((f"hydra.sweeper.prune_by={by}", f"hydra.sweeper.pruner.min_resource={first}", *words))


def _median(by: str) -> Search:
    return Search((f"hydra.sweeper.prune_by={by}", MEDIAN))


def _better(*words: str, memory: str = "", keeps: bool = False) -> Search:
    """Return the rule that won among those of pruning, and more."""
    return replace(_asha(*words, by="loss", first=3), memory=memory, keeps=keeps)


def _finalists(count: int) -> str:
    return f"hydra.sweeper.finalists={count}"


EARLIER = "ASHA by objective, a third spared"  # the default until these were measured
RULES = {
    EARLIER: _asha(A_THIRD_SPARED),
    "no pruning": NO_PRUNING,
    # pruning
    "ASHA by objective": _asha(),
    "none spared": replace(_asha(), spares=False),
    "means": replace(_asha(), reports=by_mean),
    "best so far": replace(_asha(), reports=by_best),
    "grace, half a half-width": replace(_asha(), grace=0.5),
    "grace, a half-width": replace(_asha(), grace=1.0),
    "factor 3": _asha(FACTOR_3),
    "median": _median("objective"),
    "first look at 2": _asha(first=2),
    "first look at 3": _asha(first=3),
    "loss": _asha(by="loss"),
    "loss, median": _median("loss"),
    "loss at 2": _asha(by="loss", first=2),
    "loss at 2, a third spared": _asha(A_THIRD_SPARED, by="loss", first=2),
    "loss at 3": _better(),
    "loss at 3, a third spared": _better(A_THIRD_SPARED),
    "loss at 4": _asha(by="loss", first=4),
    "lowest loss so far, at 3": replace(_asha(first=3), reports=by_lowest),
    # sampling
    "loss at 3, random": _better("hydra/sweeper/sampler=random"),
    "loss at 3, GP": _better("hydra/sweeper/sampler=gp"),
    # the end
    "finalists 3": _asha(_finalists(3)),
    "loss at 2, finalists 3": _asha(_finalists(3), by="loss", first=2),
    "loss at 3, finalists 2": _better(_finalists(2)),
    "loss at 3, finalists 3": _better(_finalists(3)),
    "loss at 3, in doubt the default": _better(keeps=True),
    # memory
    "loss at 3, prior": _better(memory=PRIOR),
    "loss at 3, history": _better(memory=HISTORY),
    "loss at 3, prior, finalists 3": _better(_finalists(3), memory=PRIOR),
    "loss at 3, history, finalists 3": _better(_finalists(3), memory=HISTORY),
}
