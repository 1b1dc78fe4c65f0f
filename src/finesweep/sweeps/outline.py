"""A study's trials in outline, and a storage that reads no more of them than it must."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from finesweep.sweeps.optuna_insides import cached_trial, outlines_in, with_cache

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, TrialState


# Attributes of a finalist's run: the number of the trial that it repeats, and its own seed.
FINALIST, SEED = "finalist", "seed"


class Outline(Protocol):
    """What decides whether another trial starts; Optuna's own trials have it too."""

    @property
    def number(self) -> int:
        """The trial's number."""
        ...

    @property
    def state(self) -> TrialState:
        """How far it is."""
        ...

    @property
    def value(self) -> float | None:
        """Its objective, if it has one and has ended."""
        ...

    @property
    def user_attrs(self) -> Mapping[str, Any]:
        """What it says of itself; of an outline, what a finalist's run says."""
        ...


class OutlinedStorage:
    """An Optuna storage, with its cache, for many workers that take short trials.

    Optuna's cache reads all of every trial that has ended since the last look, and of every one that runs;
    with 64 workers that is a hundred trials for each that is taken. A line of each says enough.

    Args:
        storage: as it was opened.
    """

    def __init__(self, storage: BaseStorage) -> None:
        self._storage, self._engine = with_cache(storage), getattr(storage, "engine", None)
        self._made: dict[int, FrozenTrial] = {}
        self._known: dict[int, dict[int, Outline]] = {}  # of each study, by the storage's id

    def __getattr__(self, name: str) -> Any:
        """Return the storage's own."""
        if name == "_storage":  # while it is being copied
            raise AttributeError(name)
        return getattr(self._storage, name)

    def outlines(self, study_id: int) -> Sequence[Outline]:
        """Return a study's trials in the order of their numbers; those that have ended are read once."""
        if self._engine is None:
            return self._storage.get_all_trials(study_id, deepcopy=False)
        known = self._known.setdefault(study_id, {})
        unfinished = [trial_id for trial_id, trial in known.items() if not trial.state.is_finished()]
        known.update(
            outlines_in(self._engine, study_id, unfinished, newest=max(known, default=-1), attribute=FINALIST)
        )
        return list(known.values())

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Make a trial, and remember it for whoever made it and asks for it next."""
        trial_id = self._storage.create_new_trial(study_id, template_trial)
        made = cached_trial(self._storage, trial_id)
        if made is not None:
            self._made[trial_id] = copy.deepcopy(made)
        return trial_id

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial; one that was made here the first time as it was made."""
        return self._made.pop(trial_id, None) or self._storage.get_trial(trial_id)
