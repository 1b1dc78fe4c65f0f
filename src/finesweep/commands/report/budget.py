"""One budget for a figure: what each trial had reached when the first of them was pruned.

The last values of a trial that was stopped at its first evaluation and of one that ran to its end differ for
that alone, whatever was searched.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from finesweep.commands.report.trial import TrialRecord

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

FEWEST = 4


@dataclass(frozen=True)
class Budget:
    """The trials of a sweep on one budget.

    Args:
        evaluation: the number, from 1, of that at which all are looked at; None for their whole training.
        trials: that reached it, by number.
    """

    evaluation: int | None
    trials: tuple[TrialRecord, ...]

    def value(self, trial: TrialRecord) -> float:
        """Return a trial's first objective on this budget."""
        return trial.values[0] if self.evaluation is None else trial.curve[self.evaluation - 1][1]

    def __str__(self) -> str:
        if self.evaluation is None:
            return "at their best evaluation"
        return f"at evaluation {self.evaluation}, the last that all {len(self.trials)} reached"


def budget_of(trials: Sequence[TrialRecord]) -> Budget:
    """Return the ended trials at the last evaluation that all of them reached.

    Where none was pruned, each had the whole training: its value is that of its best evaluation.
    """
    pruned = [trial for trial in trials if trial.state == "pruned" and trial.curve]
    complete = [trial for trial in trials if trial.state == "complete" and trial.values]
    if not pruned:
        return _finite(None, complete)
    evaluated = [trial for trial in complete if trial.curve]
    return _finite(min(len(trial.curve) for trial in (*pruned, *evaluated)), [*evaluated, *pruned])


def _finite(evaluation: int | None, trials: Sequence[TrialRecord]) -> Budget:
    found = Budget(evaluation, tuple(sorted(trials, key=lambda trial: trial.number)))
    return replace(found, trials=tuple(one for one in found.trials if math.isfinite(found.value(one))))


def importances_of(budget: Budget, found: Sequence[FrozenTrial]) -> tuple[dict[str, float], str]:
    """Return the importances that fANOVA gives (Hutter et al. 2014), or why there are none.

    Args:
        budget: the trials' values.
        found: all trials by number, which know what each parameter was drawn from.
    """
    import optuna

    if len(budget.trials) < FEWEST:
        return {}, f"{len(budget.trials)} trials with a value are too few to tell; {FEWEST} are the least."
    if len({budget.value(trial) for trial in budget.trials}) < 2:
        return {}, "All trials have the same value."
    study = optuna.create_study()
    study.add_trials([_as_complete(found[trial.number], budget.value(trial)) for trial in budget.trials])
    try:
        trees = 64 if len(budget.trials) < 100 else 16  # each costs more, and tells more, with more trials
        evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=trees, seed=0)
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    except (ValueError, RuntimeError) as error:  # such as no parameter that all trials have
        return {}, f"Optuna can't compute them: {error}"
    return shares, "" if shares else "No parameter was searched."


def _as_complete(trial: FrozenTrial, value: float) -> FrozenTrial:
    """Return a complete trial, what was searched on a log scale as logarithms.

    Optuna's fANOVA weighs by the space as it stands: of rates from 1e-5 to 1e-2 it would see the last decade.
    """
    from optuna.distributions import FloatDistribution
    from optuna.trial import create_trial

    params, axes = dict(trial.params), dict(trial.distributions)
    for name, axis in trial.distributions.items():
        if getattr(axis, "log", False):
            low, high = math.log(axis.low), math.log(axis.high)  # type: ignore[attr-defined]
            axes[name] = FloatDistribution(low, high)
            params[name] = min(max(math.log(params[name]), low), high)
    return create_trial(value=value, params=params, distributions=axes)
