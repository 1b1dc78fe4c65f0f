"""The trial that this process is running, visible from inside the job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from finesweep.sweeps.holders import LeaseLost
from finesweep.sweeps.pruning import note_loss
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
    _reported: set[int] | None = field(default=None, init=False, repr=False)

    def report(self, value: float, step: int, loss: float | None = None) -> bool:
        """Report an intermediate objective value, and return whether the trial should be pruned.

        Args:
            value: the objective so far.
            step: the evaluation's number, from 1: pruners compare trials at equal steps.
            loss: of validation, if there is one.
        """
        if not self.prunes:
            return False
        with self._still_open():
            if self._reported is None:  # a retried trial has reports already, and makes them again
                trials = self.optuna_trial.study.get_trials(deepcopy=False)
                self._reported = set(trials[self.number].intermediate_values)
            note_loss(self.optuna_trial, step, loss)
            if step not in self._reported:
                self.optuna_trial.report(value, step)
                self._reported.add(step)
        # A spared one is asked about too: halving notes in the trial itself what others are measured by.
        return self.optuna_trial.should_prune() and not self.spared

    def set_attribute(self, name: str, value: Any) -> None:
        """Attach a value to the trial, for the leaderboard and dashboards."""
        with self._still_open():
            self.optuna_trial.set_user_attr(name, value)

    def check(self) -> None:
        """Make sure that the trial is still this process's.

        Raises:
            LeaseLost: it has gone to another worker, whose folder this is now.
        """
        if self.lease:
            self.lease.check()

    @contextmanager
    def _still_open(self) -> Iterator[None]:
        """Write to the study on the trial's behalf, if it is still ours and hasn't ended elsewhere."""
        from optuna.exceptions import UpdateFinishedTrialError

        self.check()
        try:
            yield
        except UpdateFinishedTrialError:
            raise LeaseLost(f"trial {self.number} has ended elsewhere") from None


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
        self._trial.set_attribute("num_steps", num_steps)

    def on_log(self, step: int, metrics: dict[str, float]) -> None:
        """Stop if the trial has gone to another worker."""
        self._trial.check()

    def on_evaluate(self, step: int, metrics: dict[str, float]) -> Decision:
        """Report the objective, or stop if the trial has gone to another worker.

        A trial that has done its last step is complete: pruning it would save nothing and lose its result.
        """
        self._trial.check()
        known = self._trial.optuna_trial.user_attrs.get("evaluated_steps", [])
        steps = sorted({*known, step})
        self._trial.set_attribute("evaluated_steps", steps)
        objective, loss = metrics[f"validation/{self.objective}"], metrics.get("validation/loss")
        prune = self._trial.report(objective, steps.index(step) + 1, loss)
        return Decision.PRUNE if prune and step < self._num_steps else Decision.CONTINUE
