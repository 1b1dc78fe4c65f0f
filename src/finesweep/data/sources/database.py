"""Rows of a database, through SQLAlchemy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep.data.columns import ColumnError, check_names, column, dataset_of, first_line
from finesweep.errors import DataError, Fault, nearest
from finesweep.system.paths import DatabaseUrl
from finesweep.system.redaction import MASK

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from sqlalchemy import Connection
    from sqlalchemy.engine import URL

TABLE_NAME = re.compile(r"\w+(\.\w+)?")


def sql(url: DatabaseUrl, train: str, validation: str | None = None, test: str | None = None) -> DatasetDict:
    """Read one table or query for each split; nothing is written, and no transaction is committed.

    Args:
        url: SQLAlchemy's, such as sqlite:///rows.db; `${oc.env:NAME}` keeps it out of saved configs.
        train: a table's name, or a query. Without ORDER BY a database may change the rows' order.
        validation: as train.
        test: as train.

    Raises:
        DataError: no connection, no such table, a query that fails, no rows; the URL is never shown.
    """
    import sqlalchemy
    from datasets import DatasetDict
    from sqlalchemy.exc import ArgumentError

    address = _parsed(url)
    queries = {"train": train, "validation": validation, "test": test}
    try:
        engine = sqlalchemy.create_engine(address)
    except (ArgumentError, ImportError, ValueError, TypeError) as error:
        rule = f"The database `{address.drivername}` can't be used: {_without_secrets(error, address)}"
        raise DataError(Fault("data.source.url", rule, fix="Install its driver, or check the URL.")) from None
    try:
        with _connected(engine, address) as connection:
            read = {name: _read(connection, name, query, address) for name, query in queries.items() if query}
    finally:
        engine.dispose()
    return DatasetDict(read.items())


def _parsed(url: str) -> URL:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        rule = "It is no SQLAlchemy URL (it isn't shown here: it may hold a password)."
        fix = "DIALECT://USER:PASSWORD@HOST/DATABASE, or sqlite:///FILE"
        raise DataError(Fault("data.source.url", rule, fix=fix)) from None
    file = address.database
    is_sqlite = address.get_backend_name() == "sqlite"
    if is_sqlite and file and not file.startswith((":memory:", "file:")) and not Path(file).is_file():
        rule = "There is no such SQLite file."  # connecting would make an empty one
        raise DataError(
            Fault("data.source.url", rule, file, fix=f"Paths are relative to {Path.cwd()}.")
        ) from None
    return address


def _connected(engine: Any, address: URL) -> Connection:
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return engine.connect()
    except (SQLAlchemyError, ValueError, TypeError) as error:  # some drivers check the URL's options here
        rule = f"The database doesn't answer: {_without_secrets(error, address)}"
        raise DataError(Fault("data.source.url", rule)) from None


def _read(connection: Connection, split: str, query: str, address: URL) -> Dataset:
    from sqlalchemy.exc import SQLAlchemyError

    key = f"data.source.{split}"
    try:
        result = connection.execute(_statement(connection, key, query.strip()))
        names = list(map(str, result.keys()))
        rows = result.fetchall()
    except SQLAlchemyError as error:
        rule = f"The query fails: {_without_secrets(error, address)}"
        raise DataError(Fault(key, rule, query)) from None
    if not rows:
        raise DataError(Fault(key, "It gives no rows.", query))
    return _dataset(key, names, rows)


def _statement(connection: Connection, key: str, query: str) -> Any:
    import sqlalchemy

    if not TABLE_NAME.fullmatch(query):
        return sqlalchemy.text(query)
    schema, _, name = query.rpartition(".")
    inspector = sqlalchemy.inspect(connection)
    valid = (*inspector.get_table_names(schema or None), *inspector.get_view_names(schema or None))
    if name not in valid:
        rule = f"There is no such table. {nearest(name, valid)}".strip()
        raise DataError(Fault(key, rule, query, valid=valid))
    columns = [sqlalchemy.column(found["name"]) for found in inspector.get_columns(name, schema or None)]
    return sqlalchemy.select(*columns).select_from(sqlalchemy.table(name, schema=schema or None))


def _dataset(key: str, names: list[str], rows: Sequence[Any]) -> Dataset:
    import pyarrow as pa

    try:
        check_names(names)
        columns = zip(names, zip(*rows, strict=True), strict=True)
        return dataset_of(pa.table({name: column(name, _floats(values)) for name, values in columns}))
    except ColumnError as error:
        raise DataError(Fault(key, str(error))) from error


def _floats(values: tuple[Any, ...]) -> list[Any]:
    """Give exact decimals, which no label or target needs, as floats."""
    return [float(value) if isinstance(value, Decimal) else value for value in values]


def _without_secrets(error: BaseException, address: URL) -> str:
    text = first_line(getattr(error, "orig", None) or error)
    hidden = [address.render_as_string(hide_password=False), str(address.password or "")]
    for value in address.query.values():
        hidden += [value] if isinstance(value, str) else value
    for secret in hidden:
        text = text.replace(secret, MASK) if len(secret) > 3 else text
    return text
