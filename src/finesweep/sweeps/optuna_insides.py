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
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial


def with_cache(storage: BaseStorage) -> BaseStorage:
    """Return a storage with Optuna's cache of finished trials, where it has one for it.

    `create_study` puts it around a database alone (storages/__init__.py), and a PatientStorage is none.
    """
    from optuna.storages import get_storage

    return get_storage(storage)


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
