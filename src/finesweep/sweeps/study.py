"""One study in its storage: trial numbers, leases, retries, and how trials end."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from finesweep.errors import ConfigError, Fault
from finesweep.sweeps.holders import LEASE, LeaseLost, Terms, Watch, Worker
from finesweep.sweeps.optuna_insides import forget_trials, seen_by_sampler
from finesweep.sweeps.outline import FINALIST, Outline, OutlinedStorage
from finesweep.sweeps.patience import PatientStorage, StudyFile
from finesweep.sweeps.space import suggest
from finesweep.system.redaction import redact
from finesweep.system.sweep_folder import SweepFolder

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, Trial

RETRIES = "finesweep:retries"
ERROR = "error"
FOLDER = "folder"
REMEMBERED = "remembered"  # a trial's attribute: which earlier sweep its point is from
ENDED = "finesweep:ended"  # the study's attribute: how many trials had ended when its results were written
FIXED = "fixed_params"  # Optuna's name: parameters that a sampler must not choose


AnyTrial = TypeVar("AnyTrial", bound=Outline)


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


class Study:
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
        import optuna

        self._lock = lock
        self._choosing, self._in_turn = lock if in_turn else nullcontext(), in_turn
        self._make_sampler = make_sampler
        self._seed = seed
        self.terms = terms or Terms()
        self.name = name
        # Optuna's own calls go through it too.
        self._storage: Any = PatientStorage(OutlinedStorage(storage), folder)
        self.optuna = optuna.create_study(
            study_name=name,
            storage=self._storage,
            directions=list(directions),  # type: ignore[arg-type]  # checked where the settings are read
            load_if_exists=True,
            sampler=optuna.samplers.RandomSampler(seed=0),
            pruner=pruner,
        )
        self._id = self._storage.get_study_id_from_name(name)
        self._file = StudyFile(storage, folder)
        self._watch = Watch(self.terms)
        kept = self._storage.get_study_name_from_id(self._id)
        if kept != name:  # MySQL takes them for one
            rule = (
                f"The storage has a study `{kept}`, and doesn't tell names apart that differ in case alone."
            )
            raise ConfigError(Fault("hydra.sweeper.study_name", rule, name, fix="Choose another name."))
        if [direction.name.lower() for direction in self.optuna.directions] != list(directions):
            rule = "The study in the storage has other directions."
            raise ConfigError(Fault("hydra.sweeper.study_name", rule, name, fix="Choose another name."))

    def trials(self, *states: str) -> list[FrozenTrial]:
        """Return the trials in number order; of some states only, when they are named."""
        from optuna.trial import TrialState

        wanted = tuple(TrialState[state] for state in states) or None
        return self.optuna.get_trials(deepcopy=False, states=wanted)

    def id_of(self, trial: Trial | FrozenTrial) -> int:
        """Return what the storage calls a trial."""
        return self._id_of_number(trial.number)

    def _id_of_number(self, number: int) -> int:
        return int(self._storage.get_trial_id_from_study_id_trial_number(self._id, number))

    def handle(self, number: int) -> Trial:
        """Return a handle on a running trial, to report to."""
        from optuna.trial import Trial

        return Trial(self.optuna, self._id_of_number(number))

    def check_there(self) -> None:
        """Make sure that the study's file is still there.

        Raises:
            StudyGone: it isn't.
        """
        self._file.check()

    def hurry(self) -> None:
        """Wait no more for a storage that is away, from now on: this process was told to stop."""
        self._storage.hurry()

    def note_end(self, num_ended: int) -> None:
        """Say that the sweep's results are written, of so many trials that have ended."""
        self.optuna.set_user_attr(ENDED, num_ended)

    @property
    def has_noted_end(self) -> bool:
        """Whether the sweep's results are of all trials that have ended by now."""
        return self.optuna.user_attrs.get(ENDED) == num_ended(self.trials())

    def has_served(self, pid: int) -> bool:
        """Return whether a process of this host ever had a trial."""
        host = socket.gethostname()
        leases = [trial.system_attrs.get(LEASE) or {} for trial in self.trials()]
        return any(lease.get("pid") == pid and lease.get("host") == host for lease in leases)

    def take(
        self,
        worker: Worker,
        axes: Mapping[str, BaseDistribution],
        n_trials: int,
        points: Sequence[Mapping[str, Any]] = (),
        stop: Callable[[Sequence[Outline]], str] = lambda trials: "",
        drops: Callable[[int, Sequence[FrozenTrial]], bool] = lambda number, trials: False,
        further: Callable[[Sequence[FrozenTrial]], Further | None] = lambda trials: None,
    ) -> Trial | None:
        """Take a trial that was queued again, or the next new one, and choose its parameters.

        Args:
            worker: who takes it.
            axes: name -> distribution.
            n_trials: the study's total; when all of them have been taken there is no next one.
            points: parameters of the first trials, by number.
            stop: from all trials to a reason why no further one should start, or nothing.
            drops: from a number and all trials to whether its point is given up: the sampler chooses.
            further: from all trials to a run beyond `n_trials`, if one is due.
        """
        from optuna.trial import Trial

        with self._lock:
            self.check_there()
            forget_trials(self.optuna)
            known = self._storage.outlines(self._id)
            if stop(known):
                return None
            trial_id = self._take_waiting(worker, known)
            number = len(known)
            if trial_id is None and len(searched(known)) < n_trials:
                is_given = number < len(points) and not drops(number, self.trials())
                trial_id = self._make(worker, number, points[number] if is_given else None)
            elif trial_id is None and (run := further(self.trials())):
                trial_id = self._make(worker, number, run.params, run.attributes)
        if trial_id is None:
            return None
        trial = Trial(self.optuna, trial_id)
        self.optuna.sampler = self._make_sampler(hash_seed(self._seed, trial.number))
        with self._choosing:
            if self._in_turn:
                forget_trials(self.optuna)  # who had the lock before has chosen meanwhile
            for name, axis in axes.items():
                suggest(trial, name, axis)
        return trial

    def renew(self, trial_id: int, worker: Worker) -> None:
        """Say that the worker still runs the trial.

        Raises:
            LeaseLost: the trial was given to another worker, or has ended.
            StudyGone: the study's file is no more.
        """
        self.check_there()
        self._check_lease(trial_id, worker)
        self._storage.set_trial_system_attr(trial_id, LEASE, worker.lease(self.terms))

    def tell(self, trial: Trial, worker: Worker, values: Sequence[float]) -> None:
        """Record a complete trial.

        Raises:
            LeaseLost: the trial is no longer this worker's.
        """
        from optuna.trial import TrialState

        self._finish(trial, worker, TrialState.COMPLETE, values)

    def prune(self, trial: Trial, worker: Worker) -> None:
        """Record a pruned trial; its value is its last report.

        Raises:
            LeaseLost: the trial is no longer this worker's.
        """
        from optuna.trial import TrialState

        reports = self._storage.get_trial(self.id_of(trial)).intermediate_values
        value = reports[max(reports)] if reports else None
        single = len(self.optuna.directions) == 1
        usable = [value] if value is not None and math.isfinite(value) and single else None
        self._finish(trial, worker, TrialState.PRUNED, usable)

    def fail(self, trial: Trial, worker: Worker, reason: str) -> None:
        """Record a failed trial, with the reason for the table.

        Raises:
            LeaseLost: the trial is no longer this worker's.
        """
        from optuna.trial import TrialState

        self._check_lease(self.id_of(trial), worker)
        self._storage.set_trial_user_attr(self.id_of(trial), ERROR, redact(reason)[:500])
        self._finish(trial, worker, TrialState.FAIL, None)

    def give_back(self, trial: Trial, worker: Worker) -> None:
        """Queue a trial again that was stopped from outside; this is no retry.

        Raises:
            LeaseLost: the trial is no longer this worker's.
        """
        from optuna.trial import TrialState

        self._check_lease(self.id_of(trial), worker)
        self._storage.set_trial_state_values(self.id_of(trial), TrialState.WAITING)

    def lose(self, trial: Trial, worker: Worker, max_retries: int) -> None:
        """Queue a trial again whose processes died under its worker, or fail it after too many retries."""
        self._check_lease(self.id_of(trial), worker)
        with self._lock:
            self._requeue(self._storage.get_trial(self.id_of(trial)), max_retries, is_retry=True)

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
            running = self.trials("RUNNING")
            self._watch.look(running)
            orphans = [trial for trial in running if self._watch.has_no_owner(trial, is_gone)]
            for trial in orphans:
                self._requeue(trial, max_retries, is_retry, why)
        return [trial.number for trial in orphans]

    def _take_waiting(self, worker: Worker, known: Sequence[Outline]) -> int | None:
        from optuna.trial import TrialState

        for waiting in (trial for trial in known if trial.state is TrialState.WAITING):
            trial_id = self._id_of_number(waiting.number)
            if self._storage.set_trial_state_values(trial_id, TrialState.RUNNING):
                self._storage.set_trial_system_attr(trial_id, LEASE, worker.lease(self.terms))
                return trial_id
        return None

    def _make(
        self,
        worker: Worker,
        number: int,
        point: Mapping[str, Any] | None,
        about: Mapping[str, Any] | None = None,
    ) -> int:
        from optuna.trial import TrialState, create_trial

        attributes: dict[str, Any] = {LEASE: worker.lease(self.terms)}
        if point is not None:
            attributes[FIXED] = dict(point)
        shown = {FOLDER: str(SweepFolder(Path()).trial(number)), **(about or {})}
        trial = create_trial(state=TrialState.RUNNING, system_attrs=attributes, user_attrs=shown)
        return self._storage.create_new_trial(self._id, template_trial=trial)

    def _requeue(self, trial: FrozenTrial, max_retries: int, is_retry: bool, why: str = "") -> None:
        from optuna.trial import TrialState

        retries, trial_id = trial.system_attrs.get(RETRIES, 0), self.id_of(trial)
        self._storage.set_trial_system_attr(trial_id, LEASE, None)
        if retries < max_retries or not is_retry:
            self._storage.set_trial_system_attr(trial_id, RETRIES, retries + is_retry)
            self._storage.set_trial_state_values(trial_id, TrialState.WAITING)
        else:
            reason = f"its worker died {retries + 1} times{f', the last one {why}' if why else ''}"
            self._storage.set_trial_user_attr(trial_id, ERROR, reason)
            self._storage.set_trial_state_values(trial_id, TrialState.FAIL)

    def _finish(self, trial: Trial, worker: Worker, state: Any, values: Sequence[float] | None) -> None:
        """End a trial as Optuna's own `tell` does: the sampler first, which may attach to a running trial."""
        from optuna.exceptions import UpdateFinishedTrialError

        frozen = self._check_lease(self.id_of(trial), worker)
        forget_trials(self.optuna)
        seen = seen_by_sampler(self.optuna, frozen)
        try:
            try:
                seen.sampler.after_trial(seen, frozen, state, values)
            finally:  # the result stands, whatever a sampler of the user's own makes of it
                self._storage.set_trial_state_values(self.id_of(trial), state, values)
        except UpdateFinishedTrialError:
            raise LeaseLost(f"trial {trial.number} has ended elsewhere") from None

    def _check_lease(self, trial_id: int, worker: Worker) -> FrozenTrial:
        trial = self._storage.get_trial(trial_id)
        lease = trial.system_attrs.get(LEASE)
        if trial.state.is_finished() or not lease or lease["token"] != worker.token:
            raise LeaseLost(f"trial {trial.number} belongs to another worker")
        return trial


def searched(trials: Sequence[AnyTrial]) -> list[AnyTrial]:
    """Return the trials of the search, which count as `n_trials`; finalists' runs come on top of them."""
    return [trial for trial in trials if FINALIST not in trial.user_attrs]


def num_left(trials: Sequence[Outline], n_trials: int) -> int:
    """Return how many of `n_trials` nobody has taken yet, those queued again included."""
    return max(0, n_trials - len(searched(trials))) + sum(trial.state.name == "WAITING" for trial in trials)


def num_ended(trials: Sequence[Outline]) -> int:
    """Return how many trials have ended, however they did."""
    return sum(trial.state.is_finished() for trial in trials)


def hash_seed(study_seed: int, number: int) -> int:
    """Derive a trial's sampler seed, below 2**32."""
    import hashlib

    return int.from_bytes(hashlib.sha256(f"{study_seed}/{number}".encode()).digest()[:4])
