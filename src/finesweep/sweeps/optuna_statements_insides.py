"""The statements on Optuna's tables (storages/_rdb/models.py), as read from optuna 5.0.0.

Each is made once: to make one costs as much as it takes the database to carry it out.
"""

from __future__ import annotations

import functools
from typing import Any

from finesweep.sweeps.holders import LEASE


@functools.cache
def lines() -> Any:
    """A line of each trial of a study that is named or newer than one."""
    from optuna.storages._rdb.models import TrialModel, TrialUserAttributeModel, TrialValueModel
    from sqlalchemy import and_, bindparam, or_, select

    first = and_(TrialValueModel.trial_id == TrialModel.trial_id, TrialValueModel.objective == 0)
    own = and_(
        TrialUserAttributeModel.trial_id == TrialModel.trial_id,
        TrialUserAttributeModel.key == bindparam("key"),
    )
    columns = (
        *(TrialModel.trial_id, TrialModel.number, TrialModel.state),
        *(TrialValueModel.value, TrialUserAttributeModel.value_json),
    )
    return (
        select(*columns)
        .join_from(TrialModel, TrialValueModel, first, isouter=True)
        .join(TrialUserAttributeModel, own, isouter=True)
        .where(
            TrialModel.study_id == bindparam("study"),
            or_(
                TrialModel.trial_id > bindparam("newest"),
                TrialModel.trial_id.in_(bindparam("ids", expanding=True)),
            ),
        )
        .order_by(TrialModel.trial_id)
    )


@functools.cache
def locked_study() -> Any:
    """A study, which nobody else locks until the transaction ends."""
    from optuna.storages._rdb.models import StudyModel
    from sqlalchemy import bindparam, select

    return select(StudyModel.study_id).where(StudyModel.study_id == bindparam("study")).with_for_update()


@functools.cache
def num_newer() -> Any:
    """How many trials of a study are newer than one."""
    from optuna.storages._rdb.models import TrialModel
    from sqlalchemy import bindparam, func, select

    return select(func.count()).where(
        TrialModel.study_id == bindparam("study"), TrialModel.trial_id > bindparam("newest")
    )


@functools.cache
def new_trial() -> Any:
    """A trial's row."""
    from optuna.storages._rdb.models import TrialModel
    from sqlalchemy import insert

    return insert(TrialModel.__table__)  # type: ignore[arg-type]


@functools.cache
def locked_trial() -> Any:
    """A trial's state, which nobody else changes until the transaction ends."""
    from optuna.storages._rdb.models import TrialModel
    from sqlalchemy import bindparam, select

    return select(TrialModel.state).where(TrialModel.trial_id == bindparam("trial")).with_for_update()


@functools.cache
def new_state() -> Any:
    """A trial's state and times, anew."""
    from optuna.storages._rdb.models import TrialModel
    from sqlalchemy import bindparam, update

    return update(TrialModel.__table__).where(TrialModel.trial_id == bindparam("trial"))  # type: ignore[arg-type]


@functools.cache
def lease_of() -> Any:
    """Who holds a trial."""
    from optuna.storages._rdb.models import TrialSystemAttributeModel
    from sqlalchemy import bindparam, select

    return select(TrialSystemAttributeModel.value_json).where(
        TrialSystemAttributeModel.trial_id == bindparam("trial"), TrialSystemAttributeModel.key == LEASE
    )


@functools.cache
def columns_of(model: Any) -> tuple[tuple[str, str], ...]:
    """Return a model's columns: what its object calls each, and the table."""
    from sqlalchemy import inspect

    return tuple((one.key, one.columns[0].name) for one in inspect(model).column_attrs)


@functools.cache
def upsert(database: str, model: Any, key: str, others: tuple[str, ...]) -> Any:
    """Return the statement that puts rows in their place, whether there are such already or not."""
    if database in ("mysql", "mariadb"):
        from sqlalchemy.dialects.mysql import insert

        statement = insert(model.__table__)
        return statement.on_duplicate_key_update({name: statement.inserted[name] for name in others})
    if database == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert
    statement = insert(model.__table__)
    return statement.on_conflict_do_update(
        index_elements=["trial_id", key], set_={name: statement.excluded[name] for name in others}
    )
