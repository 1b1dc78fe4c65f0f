"""What finesweep needs of Optuna that Optuna doesn't offer; tests/test_library_insides.py tests each.

All of it was read from optuna 5.0.0.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, Trial


def with_cache(storage: BaseStorage) -> BaseStorage:
    """Return a storage with Optuna's cache of finished trials, where it has one for it.

    `create_study` puts it around a database alone (storages/__init__.py), and a PatientStorage is none.
    """
    from optuna.storages import get_storage

    return get_storage(storage)


def remember_trial(storage: BaseStorage, study_id: int, trial: FrozenTrial) -> None:
    """Put a trial that was just made into the cache, as `create_new_trial` does.

    (storages/_cached_storage.py.)
    """
    cache: Any = storage
    with cache._lock:
        cache._add_trials_to_cache(study_id, [trial])


def known_distribution(storage: BaseStorage, trial_id: int, name: str) -> BaseDistribution | None:
    """Return a parameter's distribution in a trial's study, if the cache has it.

    (storages/_cached_storage.py.) Optuna compares with it, and refuses some others of the same name.
    """
    cache: Any = storage
    place = cache._trial_id_to_study_id_and_number.get(trial_id)
    return cache._studies[place[0]].param_distribution.get(name) if place else None


def looks_at_ends(sampler: BaseSampler) -> bool:
    """Say whether a sampler does anything when a trial ends: to have the trial for it costs six queries.

    Those of Optuna's that compute constraints there do nothing without any (samplers/_tpe, samplers/_gp).
    """
    from optuna.samplers import BaseSampler, GPSampler, TPESampler

    hook = type(sampler).after_trial
    if hook in (TPESampler.after_trial, GPSampler.after_trial):
        return getattr(sampler, "_constraints_func", None) is not None
    return hook is not BaseSampler.after_trial


def trial_id_of(trial: Trial | FrozenTrial) -> int:
    """Return what the storage calls a trial (trial/_trial.py, trial/_frozen.py)."""
    return trial._trial_id


def record_of(trial: Trial) -> FrozenTrial:
    """Return what a handle has of its trial (trial/_trial.py): all that its pruner sees of it."""
    return trial._cached_frozen_trial


def storage_of(study: optuna.Study) -> BaseStorage:
    """Return the storage that a study was opened in (study/study.py), which it doesn't hand out."""
    return study._storage


def forget_trials(study: optuna.Study) -> None:
    """Drop the list of trials that a study keeps for one trial's time, as its own ask and tell do.

    (study/study.py and study/_tell.py.) Both do more than that: trials are made and ended under leases here.
    """
    study._thread_local.cached_all_trials = None


def seen_by_sampler(study: optuna.Study, trial: FrozenTrial) -> optuna.Study:
    """Return the study as a sampler sees it when a trial ends: with hyperband the trials of one bracket.

    (pruners/__init__.py.) `Study.tell` shows it so, but it reads the trial's state anew, and gives a pruned
    one a value that may be infinite.
    """
    from optuna.pruners import _filter_study

    return _filter_study(study, trial)


def read_optimizers_with(loads: Callable[[bytes], Any]) -> None:
    """Let the CMA-ES sampler read what it has pickled with another function than pickle's.

    (samplers/_cmaes.py.) It has no argument for it.
    """
    from optuna.samplers import _cmaes

    _cmaes.pickle = SimpleNamespace(dumps=pickle.dumps, loads=loads)  # type: ignore[attr-defined]
