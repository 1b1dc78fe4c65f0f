"""The trial that this process is running, visible from inside the job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from finesweep.sweeps.changes import Change, write
from finesweep.sweeps.holders import LeaseLost
from finesweep.sweeps.optuna_insides import record_of, storage_of, trial_id_of
from finesweep.sweeps.pruning import LOSSES, goes_by_loss
from finesweep.training.base import Decision, Monitor, Packing

_current: ContextVar[CurrentTrial | None] = ContextVar("current_trial", default=None)


class Lease(Protocol):
    """Knows whether a trial is still this process's."""

    def check(self) -> None:
        """Raise LeaseLost when it isn't."""
        ...


@dataclass
class CurrentTrial:
    """A trial in execution.

    Args:
        number: its number in the study; also names its folder and is `hydra.job.num`.
        folder: its run folder.
        study_name: the study's name.
        optuna_trial: the handle to report to and to ask whether to prune; None in a trial's other processes.
        prunes: whether the trial may be pruned: not in a study with several objectives.
        spared: whether it runs to its end, whatever the pruner says.
        lease: says when the trial has gone to another worker.
        pack: the trials of this process that it trains with, if any.
    """

    number: int
    folder: Path
    study_name: str
    optuna_trial: Any
    prunes: bool = True
    spared: bool = False
    lease: Lease | None = None
    pack: Packing | None = None
    _attributes: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    _unwritten: set[str] = field(default_factory=set, init=False, repr=False)

    def note(self, name: str, value: Any) -> None:
        """Attach a value to the trial, for the leaderboard and dashboards.

        It is written with the next report, or the trial's end: each time costs the study a transaction.
        """
        self._attributes[name] = value
        self._unwritten.add(name)

    def attribute(self, name: str, default: Any) -> Any:
        """Return what was noted under a name, by an earlier worker of the trial too."""
        known = self._attributes if name in self._attributes else self.optuna_trial.user_attrs
        return known.get(name, default)

    def noted(self) -> dict[str, Any]:
        """Return what is yet to be written, for whoever does it now."""
        found = {name: self._attributes[name] for name in sorted(self._unwritten)}
        self._unwritten.clear()
        return found

    def write(self) -> None:
        """Write what was noted.

        Raises:
            LeaseLost: the trial has gone to another worker, or ended elsewhere.
        """
        if self._unwritten:
            self._change(Change(attributes=self.noted()))

    def report(self, value: float, step: int, loss: float | None = None) -> bool:
        """Report an intermediate objective value, and return whether the trial should be pruned.

        Args:
            value: the objective so far.
            step: the evaluation's number, from 1: pruners compare trials at equal steps.
            loss: of validation, if there is one.
        """
        if not self.prunes:
            self.write()
            return False
        if loss is not None and goes_by_loss(self.optuna_trial.study.pruner):
            self.note(LOSSES, {**self.attribute(LOSSES, {}), str(step): loss})
        known, attributes = record_of(self.optuna_trial), self.noted()
        # A retried trial has reports already, and makes them again.
        reports = {} if step in known.intermediate_values else {step: float(value)}
        self._change(Change(reports=reports, attributes=attributes))
        known.intermediate_values |= reports
        known.user_attrs |= attributes
        # A spared one is asked about too: halving notes in the trial itself what others are measured by.
        return self.optuna_trial.should_prune() and not self.spared

    def check(self) -> None:
        """Make sure that the trial is still this process's.

        Raises:
            LeaseLost: it has gone to another worker, whose folder this is now.
        """
        if self.lease:
            self.lease.check()

    def _change(self, change: Change) -> None:
        """Write to the study on the trial's behalf, if it is still ours and hasn't ended elsewhere."""
        self.check()
        if not write(storage_of(self.optuna_trial.study), trial_id_of(self.optuna_trial), change):
            raise LeaseLost(f"trial {self.number} has ended elsewhere")


def current_trial() -> CurrentTrial | None:
    """Return the trial that this process is running, or None outside a sweep."""
    return _current.get()


@contextmanager
def running(trial: CurrentTrial) -> Iterator[CurrentTrial]:
    """Make a trial the current one."""
    token = _current.set(trial)
    try:
        yield trial
    finally:
        _current.reset(token)


class TrialMonitor(Monitor):
    """Report each evaluation to the current trial, and pass its wish to prune on.

    Args:
        trial: the current trial.
    """

    def __init__(self, trial: CurrentTrial) -> None:
        self._trial = trial
        self._num_steps = 0

    def on_begin(self, num_steps: int) -> None:
        """Tell the study how long the trial will be."""
        self._num_steps = num_steps
        self._trial.note("num_steps", num_steps)

    def on_log(self, step: int, metrics: dict[str, float]) -> None:
        """Stop if the trial has gone to another worker."""
        self._trial.check()

    def on_evaluate(self, step: int, metrics: dict[str, float]) -> Decision:
        """Report the objective, or stop if the trial has gone to another worker.

        A trial that has done its last step is complete: pruning it would save nothing and lose its result.
        """
        self._trial.check()
        steps = sorted({*self._trial.attribute("evaluated_steps", []), step})
        self._trial.note("evaluated_steps", steps)
        objective, loss = metrics[f"validation/{self.objective}"], metrics.get("validation/loss")
        prune = self._trial.report(objective, steps.index(step) + 1, loss)
        return Decision.PRUNE if prune and step < self._num_steps else Decision.CONTINUE
