"""Optuna's tables of trials, read and written with as few statements as a trial needs.

Optuna's own storage reads a trial anew before each value that it writes, and ends a transaction after it; no
public call takes several at once. What the rows mean is Optuna's (storages/_rdb/models.py), as read from
optuna 5.0.0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from finesweep.sweeps import optuna_statements_insides as statements
from finesweep.sweeps.changes import Change, may_change

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial, TrialState
    from sqlalchemy.engine import Connection, Engine

DATABASES = ("sqlite", "postgresql", "mysql", "mariadb")  # that Optuna itself is tested with


class TrialLine(NamedTuple):
    """One trial of a study, without its parameters, reports and attributes but for one of the user's."""

    number: int
    state: TrialState
    value: float | None
    user_attrs: Mapping[str, Any]


def outlines_in(
    engine: Engine, study_id: int, trial_ids: Sequence[int], newest: int, attribute: str
) -> dict[int, TrialLine]:
    """Read lines of a study by one query; Optuna reads whole trials.

    Args:
        engine: the storage's.
        study_id: what the storage calls the study.
        trial_ids: which of the trials up to `newest`.
        newest: all that were made after it are read too.
        attribute: of the user's, which the lines have.

    Returns:
        The lines by the storage's id of the trial, in the order of their numbers.
    """
    wanted = {"study": study_id, "newest": newest, "ids": list(trial_ids), "key": attribute}
    with engine.connect() as connection:
        rows: Any = connection.execute(statements.lines(), wanted)
        return {
            trial_id: TrialLine(number, state, value, {} if text is None else {attribute: json.loads(text)})
            for trial_id, number, state, value, text in rows
        }


def make_in(engine: Engine, study_id: int, trial: FrozenTrial, newest: int, known: int) -> tuple[int, int]:
    """Make a running trial of a study, with a template's attributes and the next number.

    Args:
        engine: the storage's.
        study_id: what the storage calls the study.
        trial: the template.
        newest: the trial up to which their number is known.
        known: that number.

    Returns:
        What the storage calls it, and its number.

    Raises:
        KeyError: there is no such study.
    """
    from optuna.storages._rdb.models import TrialModel

    of = {"study": study_id, "newest": newest}
    with _transaction(engine) as connection:
        # Whoever makes a trial, with Optuna too, waits here.
        if connection.scalar(statements.locked_study(), of) is None:
            raise KeyError(f"there is no study {study_id}")
        number = known + (connection.scalar(statements.num_newer(), of) or 0)
        began = trial.datetime_start
        model = TrialModel(study_id=study_id, number=number, state=trial.state, datetime_start=began)
        made: Any = connection.execute(statements.new_trial(), _row(model)).inserted_primary_key
        trial_id = made[0]
        _write(connection, trial_id, Change(attributes=trial.user_attrs, notes=trial.system_attrs))
    return trial_id, number


def change_in(engine: Engine, trial_id: int, change: Change, token: str | None = None) -> bool:
    """Change a trial in one transaction, in which nobody else changes it.

    Args:
        engine: the storage's.
        trial_id: what the storage calls the trial.
        change: what is written.
        token: of the worker that must hold it, or NOBODY's; None for whoever does.

    Returns:
        Whether it was changed: not if it has ended, or is another worker's.
    """
    of = {"trial": trial_id}
    with _transaction(engine) as connection:
        state = connection.scalar(statements.locked_trial(), of)
        if state is None:
            raise KeyError(f"there is no trial {trial_id}")
        # After the row is locked: a statement sees what had happened when it began.
        lease = connection.scalar(statements.lease_of(), of) if token is not None else None
        if not may_change(state, json.loads(lease or "null"), change, token):
            return False
        if change.state is not None:
            connection.execute(statements.new_state(), {**of, **_row(_with_state(change.state))})
        _write(connection, trial_id, change)
    return True


@contextmanager
def _transaction(engine: Engine) -> Iterator[Connection]:
    with engine.begin() as connection:
        if engine.name == "sqlite":  # which would lock nothing until the first value is written
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection


def _with_state(state: TrialState) -> Any:
    """Return a row's new state, and the time at which it begins or ends with it."""
    from optuna.storages._rdb.models import TrialModel

    if state.name == "RUNNING":
        return TrialModel(state=state, datetime_start=datetime.now())
    if state.is_finished():
        return TrialModel(state=state, datetime_complete=datetime.now())
    return TrialModel(state=state)


def _row(model: Any) -> dict[str, Any]:
    """Return what a row's model has set, by column; how it stores a time differs between versions."""
    return {
        name: model.__dict__[key] for key, name in statements.columns_of(type(model)) if key in model.__dict__
    }


def _write(connection: Connection, trial_id: int, change: Change) -> None:
    for model, key, rows in _rows_of(change):
        if rows:
            others = tuple(name for name in rows[0] if name != key)
            put = statements.upsert(connection.engine.name, model, key, others)
            connection.execute(put, [{"trial_id": trial_id, **row} for row in rows])


def _rows_of(change: Change) -> Iterator[tuple[Any, str, list[dict[str, Any]]]]:
    """Return what a change writes, table by table: its model, the key beside the trial's id, and the rows."""
    from optuna.distributions import distribution_to_json
    from optuna.storages._rdb import models

    for model, noted in (
        (models.TrialSystemAttributeModel, change.notes),
        (models.TrialUserAttributeModel, change.attributes),
    ):
        yield model, "key", [{"key": key, "value_json": json.dumps(value)} for key, value in noted.items()]
    params = [
        {"param_name": name, "param_value": value, "distribution_json": distribution_to_json(distribution)}
        for name, (value, distribution) in change.params.items()
    ]
    yield models.TrialParamModel, "param_name", params
    reports = []
    for step, value in change.reports.items():
        kept, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
        reports.append({"step": step, "intermediate_value": kept, "intermediate_value_type": kind})
    yield models.TrialIntermediateValueModel, "step", reports
    values = []
    for place, value in enumerate(change.values):
        kept, kind = models.TrialValueModel.value_to_stored_repr(value)
        values.append({"objective": place, "value": kept, "value_type": kind})
    yield models.TrialValueModel, "objective", values
