"""Pruning by the validation loss, which tells trials apart before the metric does."""

from __future__ import annotations

import copy
from collections.abc import Container, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from optuna.pruners import BasePruner

from finesweep.config.build import build

if TYPE_CHECKING:
    from optuna.study import Study as OptunaStudy
    from optuna.trial import FrozenTrial, TrialState

LOSSES = "losses"  # a trial's attribute: the validation loss after each evaluation, by its number
BY_LOSS, BY_OBJECTIVE = "loss", "objective"
# These hold trials against each other. What others have, such as a threshold, is of the objective.
COMPARING = ("SuccessiveHalvingPruner", "HyperbandPruner", "MedianPruner", "PercentilePruner")
OF_THE_LOSS = ("loss", "smoothing", "weight_classes")  # in an axis' name: its trials' losses differ in kind


def make_pruner(node: Mapping[str, Any], by: str, axes: Iterable[str]) -> BasePruner:
    """Build a sweep's pruner.

    Args:
        node: with its `_target_`.
        by: `loss`, `objective`, or `auto`: by the loss where trials are held against each other by it.
        axes: what the sweep varies.
    """
    pruner = build(dict(node))
    has_one_loss = not any(word in key for key in axes for word in OF_THE_LOSS)
    is_comparing = node.get("_target_", "").removeprefix("optuna.pruners.") in COMPARING
    by_loss = by == BY_LOSS or (by != BY_OBJECTIVE and is_comparing and has_one_loss)
    return ByLoss(pruner) if by_loss else pruner


class ByLoss(BasePruner):
    """Ask a pruner as if trials reported their validation loss.

    An early metric is coarse: of slow starters and of hopeless ones it says the same.
    Where any trial of the study has reported without a loss, the pruner sees what all have reported.

    Args:
        wrapped: the pruner that decides.
    """

    def __init__(self, wrapped: BasePruner) -> None:
        self._wrapped = wrapped

    def prune(self, study: OptunaStudy, trial: FrozenTrial) -> bool:
        """Say whether a trial should end."""
        trials = study.get_trials(deepcopy=False)
        if not all(_has_losses(one) for one in (*trials, trial)):
            return self._wrapped.prune(study, trial)
        seen: Any = _Seen(study)
        return self._wrapped.prune(seen, seen.of(trial))


def goes_by_loss(pruner: BasePruner) -> bool:
    """Say whether a pruner needs to know the losses."""
    return isinstance(pruner, ByLoss)


def _has_losses(trial: FrozenTrial) -> bool:
    losses = trial.user_attrs.get(LOSSES, {})
    return all(str(step) in losses for step in trial.intermediate_values)


class _Seen:
    """A study as its pruner sees it: trials report their losses, or less them where more is better."""

    def __init__(self, study: OptunaStudy) -> None:
        self._study = study
        self._sign = -1 if study.direction.name == "MAXIMIZE" else 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the study's trials."""
        return [self.of(trial) for trial in self._study.get_trials(deepcopy, states)]

    def of(self, trial: FrozenTrial) -> FrozenTrial:
        """Return a trial as it is seen."""
        seen, losses = copy.copy(trial), trial.user_attrs.get(LOSSES, {})
        seen.intermediate_values = {
            step: self._sign * losses[str(step)] for step in trial.intermediate_values
        }
        return seen
