"""What finesweep needs of Optuna that Optuna doesn't offer; tests/test_library_insides.py tests each.

All of it was read from optuna 5.0.0.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, TrialState
    from sqlalchemy.engine import Engine


def with_cache(storage: BaseStorage) -> BaseStorage:
    """Return a storage with Optuna's cache of finished trials, where it has one for it.

    `create_study` puts it around a database alone (storages/__init__.py), and a PatientStorage is none.
    """
    from optuna.storages import get_storage

    return get_storage(storage)


def cached_trial(storage: BaseStorage, trial_id: int) -> FrozenTrial | None:
    """Return a trial, an unfinished one too, as the cache has it (storages/_cached_storage.py).

    That is what `create_new_trial` has just made; Optuna reads it again, in six queries.
    """
    place = getattr(storage, "_trial_id_to_study_id_and_number", {}).get(trial_id)
    return storage._studies[place[0]].trials[place[1]] if place else None  # type: ignore[attr-defined]


class TrialLine(NamedTuple):
    """One trial of a study, without its parameters, reports and attributes but for one of the user's."""

    number: int
    state: TrialState
    value: float | None
    user_attrs: Mapping[str, Any]


def outlines_in(
    engine: Engine, study_id: int, trial_ids: Sequence[int], newest: int, attribute: str
) -> dict[int, TrialLine]:
    """Read lines of a study in a database by one query (storages/_rdb/models.py); Optuna reads whole trials.

    Args:
        engine: the storage's.
        study_id: what the storage calls the study.
        trial_ids: which of the trials up to `newest`.
        newest: all that were made after it are read too.
        attribute: of the user's, which the lines have.

    Returns:
        The lines by the storage's id of the trial, in the order of their numbers.
    """
    from optuna.storages._rdb.models import TrialModel, TrialUserAttributeModel, TrialValueModel
    from sqlalchemy import and_, or_, select

    first = and_(TrialValueModel.trial_id == TrialModel.trial_id, TrialValueModel.objective == 0)
    own = and_(
        TrialUserAttributeModel.trial_id == TrialModel.trial_id, TrialUserAttributeModel.key == attribute
    )
    wanted = or_(TrialModel.trial_id > newest, TrialModel.trial_id.in_(trial_ids))
    lines = (
        select(
            TrialModel.trial_id,
            TrialModel.number,
            TrialModel.state,
            TrialValueModel.value,
            TrialUserAttributeModel.value_json,
        )
        .join(TrialValueModel, first, isouter=True)
        .join(TrialUserAttributeModel, own, isouter=True)
        .where(TrialModel.study_id == study_id, wanted)
        .order_by(TrialModel.trial_id)
    )
    with engine.connect() as connection:
        return {
            trial_id: TrialLine(number, state, value, {} if text is None else {attribute: json.loads(text)})
            for trial_id, number, state, value, text in connection.execute(lines)
        }


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
