"""A study as its storage has it: opened, made sure of, read, and told what is so of its trials."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep.errors import ConfigError, Fault
from finesweep.sweeps.attributes import ENDED
from finesweep.sweeps.changes import Change, may_change
from finesweep.sweeps.counting import num_ended
from finesweep.sweeps.holders import LEASE, LeaseLost, Worker
from finesweep.sweeps.optuna_insides import trial_id_of
from finesweep.sweeps.outline import OutlinedStorage, Outlines
from finesweep.sweeps.patience import PatientStorage, StudyFile

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, Trial


class StoredStudy:
    """A study in its storage, which is waited for while it is away.

    Args:
        name: the study's name in the storage.
        storage: an Optuna storage that the workers share.
        directions: `minimize` or `maximize` for each objective.
        pruner: asked after each evaluation.
        folder: the sweep's.

    Raises:
        ConfigError: the storage has another study under this name.
    """

    def __init__(
        self, name: str, storage: BaseStorage, directions: Sequence[str], pruner: BasePruner, folder: Path
    ) -> None:
        import optuna

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
        self._check_same(directions)

    def _check_same(self, directions: Sequence[str]) -> None:
        kept, rule = self._storage.get_study_name_from_id(self._id), ""
        if kept != self.name:  # MySQL takes them for one
            rule = (
                f"The storage has a study `{kept}`, and doesn't tell names apart that differ in case alone."
            )
        elif [direction.name.lower() for direction in self.optuna.directions] != list(directions):
            rule = "The study in the storage has other directions."
        if rule:
            fault = Fault("hydra.sweeper.study_name", rule, self.name, fix="Choose another name.")
            raise ConfigError(fault)

    def trials(self, *states: str) -> list[FrozenTrial]:
        """Return the trials in number order; of some states only, when they are named."""
        from optuna.trial import TrialState

        wanted = tuple(TrialState[state] for state in states) or None
        return self.optuna.get_trials(deepcopy=False, states=wanted)

    def outlines(self) -> Outlines:
        """Return a line of each trial in number order: what decides whether another one starts."""
        return self._storage.outlines(self._id)

    def trial(self, number: int) -> FrozenTrial:
        """Return one trial, as it is now."""
        return self._storage.get_trial(self._id_of_number(number))

    def id_of(self, trial: Trial | FrozenTrial) -> int:
        """Return what the storage calls a trial."""
        return trial_id_of(trial)

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
        return self.optuna.user_attrs.get(ENDED) == num_ended(self.outlines())

    def has_served(self, pid: int) -> bool:
        """Return whether a process of this host ever had a trial."""
        host = socket.gethostname()
        leases = [trial.system_attrs.get(LEASE) or {} for trial in self.trials()]
        return any(lease.get("pid") == pid and lease.get("host") == host for lease in leases)

    def _say(self, trial_id: int, worker: Worker, change: Change) -> None:
        """Change a trial, if the worker still holds it."""
        if not self._storage.change(trial_id, change, worker.token):
            raise lost(self._storage.get_trial_number_from_id(trial_id))

    def _held(self, trial_id: int, worker: Worker) -> FrozenTrial:
        """Return a trial, if the worker still holds it."""
        trial = self._storage.get_trial(trial_id)
        if not may_change(trial.state, trial.system_attrs.get(LEASE), Change(), worker.token):
            raise lost(trial.number)
        return trial


def lost(number: int) -> LeaseLost:
    """Say that a trial is no longer its worker's."""
    return LeaseLost(f"trial {number} belongs to another worker, or has ended elsewhere")
