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
    """Report the validation loss, where less is better, as it is."""
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


TODAY = "today's default"
NO_PRUNING = Search(("hydra/sweeper/pruner=none",))
NO_STARTUP = "hydra.sweeper.n_startup_trials=0"
BY_OBJECTIVE, BY_LOSS = (f"hydra.sweeper.prune_by={name}" for name in ("objective", "loss"))
FACTOR_3 = "hydra.sweeper.pruner.reduction_factor=3"
MEDIAN = "hydra/sweeper/pruner=median"


def _finalists(count: int) -> str:
    return f"hydra.sweeper.finalists={count}"


def _today(*words: str) -> Search:
    return Search((BY_OBJECTIVE, *words))


def _by_loss(*words: str, memory: str = "", keeps: bool = False) -> Search:
    return Search((BY_LOSS, *words), memory=memory, keeps=keeps)


RULES = {
    TODAY: _today(),
    # pruning
    "no pruning": NO_PRUNING,
    "ASHA, none spared": replace(_today(NO_STARTUP), spares=False),
    "ASHA, trial 0 spared": _today(NO_STARTUP),
    "ASHA by means": replace(_today(), reports=by_mean),
    "ASHA by the best so far": replace(_today(), reports=by_best),
    "ASHA, grace of half a half-width": replace(_today(), grace=0.5),
    "ASHA, grace of a half-width": replace(_today(), grace=1.0),
    "ASHA, factor 3": _today(FACTOR_3),
    "median": _today(MEDIAN),
    "by the last loss": replace(_today(), reports=by_loss),
    "by loss": _by_loss(),
    "by loss, trial 0 spared": _by_loss(NO_STARTUP),
    "by loss, factor 3": _by_loss(FACTOR_3),
    "by loss, median": _by_loss(MEDIAN),
    # sampling
    "random": _today("hydra/sweeper/sampler=random"),
    "by loss, random": _by_loss("hydra/sweeper/sampler=random"),
    "by loss, GP": _by_loss("hydra/sweeper/sampler=gp"),
    # the end
    "finalists 3": _today(_finalists(3)),
    "by loss, finalists 2": _by_loss(_finalists(2)),
    "by loss, finalists 3": _by_loss(_finalists(3)),
    "no pruning, finalists 3": replace(NO_PRUNING, words=(*NO_PRUNING.words, _finalists(3))),
    "by loss, the default in doubt": _by_loss(keeps=True),
    # memory
    "prior": replace(_today(), memory=PRIOR),
    "by loss, prior": _by_loss(memory=PRIOR),
    "by loss, history": _by_loss(memory=HISTORY),
    "by loss, prior, trial 0 spared": _by_loss(NO_STARTUP, memory=PRIOR),
    "by loss, prior, finalists 3": _by_loss(_finalists(3), memory=PRIOR),
    "by loss, history, finalists 3": _by_loss(_finalists(3), memory=HISTORY),
}
