"""A study whose trials are handed out once each: under leases, with retries, and how they end."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from finesweep.sweeps.attributes import ERROR, FIXED, FOLDER
from finesweep.sweeps.changes import Change, requeued, token_of
from finesweep.sweeps.counting import num_searched, states_of
from finesweep.sweeps.holders import LEASE, Terms, Watch, Worker
from finesweep.sweeps.optuna_insides import forget_trials, looks_at_ends, seen_by_sampler
from finesweep.sweeps.outline import Outline
from finesweep.sweeps.space import suggest
from finesweep.sweeps.stored import StoredStudy, lost
from finesweep.system.redaction import redact
from finesweep.system.sweep_folder import SweepFolder

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, Trial

EMPTY: Mapping[str, Any] = {}


class Further(Protocol):
    """A run beyond a study's total: its parameters, and what its trial says of it."""

    @property
    def params(self) -> Mapping[str, Any]:
        """What it is made of."""
        ...

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The trial's own attributes."""
        ...


class Study(StoredStudy):
    """A study whose trials are handed out once each, whoever asks.

    A trial is made when a worker takes it, under the lock: counting the trials before asking for a new
    number is a race without one, and so is taking a waiting trial, since SQLite's storage reads a
    trial's state and writes it in two steps.

    Args:
        name: the study's name in the storage.
        storage: an Optuna storage that the workers share.
        directions: `minimize` or `maximize` for each objective.
        make_sampler: from a seed to a sampler. Each trial gets one of its own, seeded by the study's
            seed and the trial's number, so that a resumed study does not repeat itself.
        pruner: asked after each evaluation.
        seed: the study's seed.
        folder: the sweep's.
        lock: held while a trial changes hands; shared by all workers, on every host.
        in_turn: whether it is held while parameters are chosen too: a sampler that goes through one sequence
            would give two workers the same point.
        terms: of its leases.
    """

    def __init__(
        self,
        name: str,
        storage: BaseStorage,
        directions: Sequence[str],
        make_sampler: Callable[[int], BaseSampler],
        pruner: BasePruner,
        seed: int,
        lock: AbstractContextManager[Any],
        folder: Path,
        *,
        in_turn: bool = False,
        terms: Terms | None = None,
    ) -> None:
        super().__init__(name, storage, directions, pruner, folder)
        self._lock = lock
        self._choosing = lock if in_turn else nullcontext()
        self._make_sampler = make_sampler
        self._seed = seed
        self.terms = terms or Terms()
        self._watch = Watch(self.terms)

    def take(
        self,
        worker: Worker,
        axes: Mapping[str, BaseDistribution],
        n_trials: int,
        points: Sequence[Mapping[str, Any]] = (),
        stop: Callable[[Sequence[Outline]], str] = lambda trials: "",
        drops: Callable[[int], bool] = lambda number: False,
        further: Callable[[Sequence[Outline]], Further | None] = lambda trials: None,
    ) -> Trial | None:
        """Take a trial that was queued again, or the next new one, and choose its parameters.

        Args:
            worker: who takes it.
            axes: name -> distribution.
            n_trials: the study's total; when all of them have been taken there is no next one.
            points: parameters of the first trials, by number.
            stop: from all trials to a reason why no further one should start, or nothing.
            drops: from a number to whether its point is given up: the sampler chooses.
            further: from all trials to a run beyond `n_trials`, if one is due.
        """
        with self._lock:
            self.check_there()
            known = self.outlines()
            if stop(known):
                return None
            taken, number = self._take_waiting(worker, known), len(known)
            if taken is None and num_searched(known) < n_trials:
                is_given = number < len(points) and not drops(number)
                taken = self._make(worker, number, points[number] if is_given else None)
            elif taken is None and (run := further(known)):
                taken = self._make(worker, number, run.params, run.attributes)
        return self._chosen(*taken, axes) if taken else None

    def _chosen(self, trial_id: int, number: int, axes: Mapping[str, BaseDistribution]) -> Trial:
        """Have a trial's own sampler choose its parameters, but for those that it has."""
        from optuna.trial import Trial

        self.optuna.sampler = self._make_sampler(hash_seed(self._seed, number))
        trial = Trial(self.optuna, trial_id)
        with self._choosing:
            forget_trials(self.optuna)  # of a sequence, who had the lock before has chosen meanwhile
            with self._storage.gathered(trial_id) as params:
                for name, axis in axes.items():
                    suggest(trial, name, axis)
            if params:
                self._storage.change(trial_id, Change(params=params))
        return trial

    def renew(self, trial_id: int, worker: Worker) -> None:
        """Say that the worker still runs the trial.

        Raises:
            LeaseLost: the trial was given to another worker, or has ended.
            StudyGone: the study's file is no more.
        """
        self.check_there()
        self._say(trial_id, worker, Change(notes={LEASE: worker.lease(self.terms)}))

    def tell(
        self, trial: Trial, worker: Worker, values: Sequence[float], attributes: Mapping[str, Any] = EMPTY
    ) -> None:
        """Record a complete trial.

        Args:
            trial: the trial.
            worker: who has run it.
            values: of the objectives.
            attributes: what else is written about it.

        Raises:
            LeaseLost: the trial is no longer this worker's.
        """
        from optuna.trial import TrialState

        self._finish(trial, worker, Change(TrialState.COMPLETE, values, attributes=attributes))

    def prune(self, trial: Trial, worker: Worker, attributes: Mapping[str, Any] = EMPTY) -> None:
        """Record a pruned trial; its value is its last report.

        Raises:
            LeaseLost: the trial is no longer this worker's.
        """
        from optuna.trial import TrialState

        reports = self._storage.get_trial(self.id_of(trial)).intermediate_values
        value = reports[max(reports)] if reports else None
        single = len(self.optuna.directions) == 1
        usable = [value] if value is not None and math.isfinite(value) and single else []
        self._finish(trial, worker, Change(TrialState.PRUNED, usable, attributes=attributes))

    def fail(self, trial: Trial, worker: Worker, reason: str, attributes: Mapping[str, Any] = EMPTY) -> None:
        """Record a failed trial, with the reason for the table.

        Raises:
            LeaseLost: the trial is no longer this worker's.
        """
        from optuna.trial import TrialState

        about = {**attributes, ERROR: redact(reason)[:500]}
        self._finish(trial, worker, Change(TrialState.FAIL, attributes=about))

    def give_back(self, trial: Trial, worker: Worker) -> None:
        """Queue a trial again that was stopped from outside; this is no retry.

        Raises:
            LeaseLost: the trial is no longer this worker's.
        """
        from optuna.trial import TrialState

        self._say(self.id_of(trial), worker, Change(TrialState.WAITING))

    def lose(self, trial: Trial, worker: Worker, max_retries: int) -> None:
        """Queue a trial again whose processes died under its worker, or fail it after too many retries.

        Raises:
            LeaseLost: the trial is no longer this worker's.
        """
        with self._lock:
            found = self._held(self.id_of(trial), worker)
            self._requeue(found, max_retries, is_retry=True)

    def reclaim(
        self,
        max_retries: int,
        is_gone: Callable[[dict[str, Any]], bool],
        *,
        is_retry: bool = True,
        why: str = "",
    ) -> list[int]:
        """Queue again, or fail after too many retries, each running trial whose worker is gone.

        That is known of a worker of this host. A lease from elsewhere has run out when it hasn't changed for
        `terms.lease_s` while this process looked: no two hosts' clocks need to agree.

        Args:
            max_retries: how often a trial may be queued again.
            is_gone: whether a lease's worker is known to be gone.
            is_retry: whether it counts: not when the workers were ended on purpose.
            why: how the workers ended, if that is known.

        Returns:
            Numbers of the trials that were taken back.
        """
        with self._lock:
            running = self._storage.running_trials(self._id)
            self._watch.look(running)
            orphans = [trial for trial in running if self._watch.has_no_owner(trial, is_gone)]
            return [one.number for one in orphans if self._requeue(one, max_retries, is_retry, why)]

    def _take_waiting(self, worker: Worker, known: Sequence[Outline]) -> tuple[int, int] | None:
        """Take the first trial that waits; return its id and number."""
        from optuna.trial import TrialState

        if not states_of(known)["WAITING"]:
            return None
        taking = Change(TrialState.RUNNING, notes={LEASE: worker.lease(self.terms)})
        for waiting in (trial for trial in known if trial.state is TrialState.WAITING):
            trial_id = self._id_of_number(waiting.number)
            if self._storage.change(trial_id, taking):
                return trial_id, waiting.number
        return None

    def _make(
        self, worker: Worker, number: int, point: Mapping[str, Any] | None, about: Mapping[str, Any] = EMPTY
    ) -> tuple[int, int]:
        """Make a trial; return its id and number."""
        from optuna.trial import TrialState, create_trial

        notes = {LEASE: worker.lease(self.terms), **({} if point is None else {FIXED: dict(point)})}
        attributes = {FOLDER: str(SweepFolder(Path()).trial(number)), **about}
        trial = create_trial(state=TrialState.RUNNING, system_attrs=notes, user_attrs=attributes)
        return self._storage.make_trial(self._id, trial)

    def _requeue(self, trial: FrozenTrial, max_retries: int, is_retry: bool, why: str = "") -> bool:
        """Queue a trial again, or fail it, unless its lease has changed since it was read; say whether."""
        change = requeued(trial, max_retries, is_retry, why)
        return self._storage.change(self.id_of(trial), change, token_of(trial.system_attrs.get(LEASE)))

    def _finish(self, trial: Trial, worker: Worker, end: Change) -> None:
        """End a trial as Optuna's own `tell` does: the sampler first, which may attach to a running trial."""
        from optuna.exceptions import UpdateFinishedTrialError

        trial_id = self.id_of(trial)
        if not looks_at_ends(self.optuna.sampler):
            self._say(trial_id, worker, end)
            return
        frozen = self._held(trial_id, worker)
        forget_trials(self.optuna)
        seen = seen_by_sampler(self.optuna, frozen)
        try:
            seen.sampler.after_trial(seen, frozen, end.state, end.values or None)  # type: ignore[arg-type]
        except UpdateFinishedTrialError:
            raise lost(trial.number) from None
        finally:  # the result stands, whatever a sampler of the user's own makes of it
            self._say(trial_id, worker, end)


def hash_seed(study_seed: int, number: int) -> int:
    """Derive a trial's sampler seed, below 2**32."""
    import hashlib

    return int.from_bytes(hashlib.sha256(f"{study_seed}/{number}".encode()).digest()[:4])
