"""What is written about a running trial at once, or not at all: by whoever holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from finesweep.sweeps.attributes import ERROR, RETRIES
from finesweep.sweeps.holders import LEASE

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, TrialState

NOBODY = ""  # the token of a trial that nobody holds


@dataclass(frozen=True)
class Change:
    """What is written about a trial.

    Args:
        state: that it has from now on; None for the one it has.
        values: of its objectives.
        params: by name, each as Optuna stores it and its distribution.
        reports: objective values by step.
        attributes: the user's.
        notes: Optuna's system attributes.
    """

    state: TrialState | None = None
    values: Sequence[float] = ()
    params: Mapping[str, tuple[float, BaseDistribution]] = field(default_factory=dict)
    reports: Mapping[int, float] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)


def may_change(state: TrialState, lease: Mapping[str, Any] | None, change: Change, token: str | None) -> bool:
    """Say whether a change is one that may still be made.

    Args:
        state: the trial's.
        lease: the trial's.
        change: taking a trial is one, which must be waiting.
        token: of the worker that must hold it, NOBODY's, or None for whoever does.
    """
    if change.state is not None and change.state.name == "RUNNING":
        return state.name == "WAITING"
    if token is None:
        return not state.is_finished()
    return state.name == "RUNNING" and token_of(lease) == token


def token_of(lease: Mapping[str, Any] | None) -> str:
    """Return who holds a trial, by its lease."""
    return lease["token"] if lease else NOBODY


def requeued(trial: FrozenTrial, max_retries: int, is_retry: bool, why: str = "") -> Change:
    """Return what queues a trial again whose worker is gone, or fails it after too many retries.

    Args:
        trial: the trial.
        max_retries: how often it may be queued again.
        is_retry: whether this counts as one.
        why: how the worker ended, if that is known.
    """
    from optuna.trial import TrialState

    retries = trial.system_attrs.get(RETRIES, 0)
    if retries < max_retries or not is_retry:
        return Change(TrialState.WAITING, notes={LEASE: None, RETRIES: retries + is_retry})
    reason = f"its worker died {retries + 1} times{f', the last one {why}' if why else ''}"
    return Change(TrialState.FAIL, attributes={ERROR: reason}, notes={LEASE: None})


def write(storage: Any, trial_id: int, change: Change) -> bool:
    """Change a trial, at once where the storage can do that; say whether it was changed."""
    at_once = getattr(storage, "change", None)
    return at_once(trial_id, change) if at_once else change_by_calls(storage, trial_id, change)


def change_by_calls(storage: BaseStorage, trial_id: int, change: Change, token: str | None = None) -> bool:
    """Change a trial by Optuna's own calls, in a storage that has no transactions to offer; its state last.

    Returns:
        Whether it was changed: not if it has ended, or is another worker's.
    """
    from optuna.exceptions import UpdateFinishedTrialError

    trial: FrozenTrial = storage.get_trial(trial_id)
    if not may_change(trial.state, trial.system_attrs.get(LEASE), change, token):
        return False
    takes = change.state is not None and change.state.name == "RUNNING"
    try:
        if takes and not storage.set_trial_state_values(trial_id, change.state):  # type: ignore[arg-type]
            return False
        for name, value in change.notes.items():
            storage.set_trial_system_attr(trial_id, name, value)
        for name, value in change.attributes.items():
            storage.set_trial_user_attr(trial_id, name, value)
        for name, (value, distribution) in change.params.items():
            storage.set_trial_param(trial_id, name, value, distribution)
        for step, value in change.reports.items():
            storage.set_trial_intermediate_value(trial_id, step, value)
        if change.state is not None and not takes:
            storage.set_trial_state_values(trial_id, change.state, change.values or None)
    except UpdateFinishedTrialError:
        return False
    return True
