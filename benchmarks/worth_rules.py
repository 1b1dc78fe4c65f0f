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


def by_loss(curve: Curve) -> Sequence[float]:
    """Report the validation loss; less is better."""
    return [-loss for loss in curve.loss]


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
            today's default found on the three tables that are most alike; nothing.
        reports: from a run's curve to what the pruner is told after each evaluation.
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


TODAY = "today's default"
NO_PRUNING = Search(("hydra/sweeper/pruner=none",))
NO_STARTUP = "hydra.sweeper.n_startup_trials=0"


def _finalists(count: int) -> str:
    return f"hydra.sweeper.finalists={count}"


RULES = {
    TODAY: Search(),
    # pruning
    "no pruning": NO_PRUNING,
    "ASHA, none spared": Search((NO_STARTUP,), spares=False),
    "ASHA, trial 0 spared": Search((NO_STARTUP,)),
    "ASHA by loss": Search(reports=by_loss),
    "ASHA by means": Search(reports=by_mean),
    "ASHA by the best so far": Search(reports=by_best),
    "ASHA, grace of half a half-width": Search(grace=0.5),
    "ASHA, grace of a half-width": Search(grace=1.0),
    "ASHA, factor 3": Search(("hydra.sweeper.pruner.reduction_factor=3",)),
    "median": Search(("hydra/sweeper/pruner=median",)),
    # sampling
    "random": Search(("hydra/sweeper/sampler=random",)),
    "random, no pruning": Search(("hydra/sweeper/sampler=random", *NO_PRUNING.words)),
    "QMC": Search(("hydra/sweeper/sampler=qmc",)),
    "GP": Search(("hydra/sweeper/sampler=gp",)),
    # the end
    "finalists 2": Search((_finalists(2),)),
    "finalists 3": Search((_finalists(3),)),
    "no pruning, finalists 3": replace(NO_PRUNING, words=(*NO_PRUNING.words, _finalists(3))),
    "the default in doubt": Search(keeps=True),
    # memory
    "prior": Search(memory=PRIOR),
    "history": Search(memory=HISTORY),
    "prior, no pruning": replace(NO_PRUNING, memory=PRIOR),
    "prior, finalists 2": Search((_finalists(2),), memory=PRIOR),
    "prior, finalists 3": Search((_finalists(3),), memory=PRIOR),
    "history, finalists 3": Search((_finalists(3),), memory=HISTORY),
    "prior, the default in doubt": Search(memory=PRIOR, keeps=True),
}
