"""A study's trials in outline, and a storage that reads and writes no more of them than it must."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from finesweep.sweeps.changes import Change, change_by_calls
from finesweep.sweeps.optuna_insides import known_distribution, remember_trial, with_cache
from finesweep.sweeps.optuna_tables_insides import DATABASES, change_in, make_in, outlines_in

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, TrialState


# Attributes of a finalist's run: the number of the trial that it repeats, and its own seed.
FINALIST, SEED = "finalist", "seed"
Params = dict[str, tuple[float, "BaseDistribution"]]  # as Optuna stores them


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


class Outlines(Sequence[Outline]):
    """A study's trials in the order of their numbers, counted as they are read.

    Each worker asks before each trial how many there are of which kind; to go through 10,000 for the answer
    takes longer than to take one.

    Args:
        lines: those that have been read, by the storage's id.
    """

    def __init__(self, lines: Mapping[int, Outline] | None = None) -> None:
        self.states: Counter[str] = Counter()
        self.num_finalists = 0
        self.newest = -1  # the storage's id of the last one
        self._lines: list[Outline] = []
        self._unfinished: dict[int, int] = {}  # by the storage's id: the place
        self.update(lines or {})

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, place: Any) -> Any:
        return self._lines[place]

    @property
    def unfinished(self) -> list[int]:
        """The storage's ids of those that may yet change."""
        return list(self._unfinished)

    def update(self, lines: Mapping[int, Outline]) -> None:
        """Take in lines that were read anew: of the unfinished, and of what was made since."""
        for trial_id, line in lines.items():
            place = self._unfinished.pop(trial_id, None)
            if place is None:
                place, self.newest = len(self._lines), max(self.newest, trial_id)
                self._lines.append(line)
                self.num_finalists += FINALIST in line.user_attrs
            else:
                self.states[self._lines[place].state.name] -= 1
                self._lines[place] = line
            self.states[line.state.name] += 1
            if not line.state.is_finished():
                self._unfinished[trial_id] = place


class OutlinedStorage:
    """An Optuna storage, with its cache, for many workers that take short trials.

    Optuna's cache reads all of every trial that has ended since the last look, and of every one that runs;
    with 64 workers that is a hundred trials for each that is taken. A line of each says enough. And it writes
    one value at a time, where a database would take all of them at once.

    Args:
        storage: as it was opened.
    """

    def __init__(self, storage: BaseStorage) -> None:
        engine: Any = getattr(storage, "engine", None)
        self._opened, self._storage, self._engine = storage, with_cache(storage), engine
        self._has_tables = engine is not None and engine.name in DATABASES
        self._made: dict[int, FrozenTrial] = {}
        self._known: dict[int, Outlines] = {}  # of each study
        self._gathered: dict[int, Params] = {}  # by the trial's id

    def __getattr__(self, name: str) -> Any:
        """Return the storage's own."""
        if name == "_storage":  # while it is being copied
            raise AttributeError(name)
        return getattr(self._storage, name)

    def outlines(self, study_id: int) -> Outlines:
        """Return a study's trials in the order of their numbers; those that have ended are read once."""
        if not self._has_tables:
            trials = self._storage.get_all_trials(study_id, deepcopy=False)
            return Outlines({trial.number: trial for trial in trials})
        known = self._known.setdefault(study_id, Outlines())
        known.update(outlines_in(self._engine, study_id, known.unfinished, known.newest, FINALIST))
        return known

    def running_trials(self, study_id: int) -> list[FrozenTrial]:
        """Return a study's running trials; the cache would read all that ended since its last look."""
        from optuna.trial import TrialState

        return self._opened.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))

    def make_trial(self, study_id: int, template: FrozenTrial) -> tuple[int, int]:
        """Make a running trial, and remember it for whoever made it and asks for it next.

        Returns:
            What the storage calls it, and its number.
        """
        if not self._has_tables:
            trial_id = self._storage.create_new_trial(study_id, template)
            return trial_id, self._storage.get_trial_number_from_id(trial_id)
        known = self._known.get(study_id, Outlines())
        trial_id, number = make_in(self._engine, study_id, template, known.newest, len(known))
        made, cached = copy.deepcopy(template), copy.deepcopy(template)
        for one in (made, cached):
            one.number, one._trial_id = number, trial_id
        remember_trial(self._storage, study_id, cached)
        self._made[trial_id] = made
        return trial_id, number

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial; one that was made here the first time as it was made."""
        return self._made.pop(trial_id, None) or self._storage.get_trial(trial_id)

    def change(self, trial_id: int, change: Change, token: str | None = None) -> bool:
        """Change a trial, all of it at once where the storage is a database; say whether it was.

        Args:
            trial_id: what the storage calls it.
            change: what is written.
            token: of the worker that must hold it, or NOBODY's; None for whoever does.
        """
        if self._has_tables:
            return change_in(self._engine, trial_id, change, token)
        return change_by_calls(self._storage, trial_id, change, token)

    @contextmanager
    def gathered(self, trial_id: int) -> Iterator[Params]:
        """Gather the parameters that are chosen for a trial within the block, for one `change`."""
        params: Params = {}
        if self._has_tables:
            self._gathered[trial_id] = params
        try:
            yield params
        finally:
            self._gathered.pop(trial_id, None)

    def set_trial_param(self, trial_id: int, name: str, value: float, distribution: BaseDistribution) -> None:
        """Set a parameter, or gather it; the first of a name here is Optuna's to compare with the study's."""
        from optuna.distributions import check_distribution_compatibility

        params = self._gathered.get(trial_id)
        known = known_distribution(self._storage, trial_id, name) if params is not None else None
        if params is None or known is None:
            self._storage.set_trial_param(trial_id, name, value, distribution)
            return
        check_distribution_compatibility(known, distribution)
        params[name] = (value, distribution)
