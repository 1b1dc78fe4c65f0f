"""Arrow columns out of Python values, and the column types that a data set holds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

# What pyarrow and datasets raise for values and types that they don't take.
REFUSALS = (ValueError, TypeError, NotImplementedError, OverflowError, KeyError)
# How pandas says that a value is missing.
MISSING = ("NoneType", "NAType", "NaTType")
# What a shell or Hydra's grammar would read otherwise.
DELIMITER_NAMES = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "bar": "|"}


class ColumnError(ValueError):
    """Rows that make no table; the text says which column or row, and why."""


def character(delimiter: str) -> str:
    """Return the delimiter that is meant: some may be called by their names."""
    return DELIMITER_NAMES.get(delimiter, delimiter)


def rows_table(rows: Sequence[Any]) -> pa.Table:
    """Turn dicts of column name to value into a table; what a row lacks is null.

    Raises:
        ColumnError: a row that is no dict, a name that is no text, a column of mixed types.
    """
    import pyarrow as pa

    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            kind = type(row).__name__
            raise ColumnError(f"Row {number} is of type {kind}; a row is a dict of column name to value.")
    names = dict.fromkeys(name for row in rows for name in row)
    for name in names:
        if not isinstance(name, str):
            raise ColumnError(f"A column is called {name!r}; a column's name is a text.")
    return pa.table({name: column(name, [row.get(name) for row in rows]) for name in names})


def column(name: str, values: Sequence[Any]) -> pa.Array:
    """Turn Python values of one type into an Arrow array; None, and NaN among texts, are null.

    Args:
        name: for messages.
        values: (rows,).

    Raises:
        ColumnError: values of mixed types, with the first row that differs, or of an unknown type.
    """
    import pyarrow as pa

    values = _without_marks(values)
    _check_one_kind(name, values)
    try:
        return pa.array(values)
    except REFUSALS as error:
        row = _first_refused(values)
        where = f"Column `{name}`" if row is None else f"Row {row} of column `{name}`"
        raise ColumnError(f"{where} can't be read: {first_line(error)}") from error


def dataset_of(table: pa.Table) -> Dataset:
    """Wrap a table as a data set, its dictionaries (categories) as plain values; nothing else is copied.

    Raises:
        ColumnError: duplicated names, or a type that datasets doesn't know, with its column.
    """
    from datasets import Dataset

    check_names(table.column_names)
    table = _plain(table)
    try:
        return Dataset(table)
    except REFUSALS as error:
        for field in table.schema:
            try:
                Dataset(table.select([field.name]))
            except REFUSALS:
                rule = f"Column `{field.name}` is of the type {field.type}, which a data set can't hold."
                raise ColumnError(rule) from error
        raise ColumnError(f"It can't be read as a data set: {first_line(error)}") from error


def check_names(names: Sequence[str]) -> None:
    """Refuse duplicated column names.

    Raises:
        ColumnError: with the names.
    """
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ColumnError(f"Columns have the same name: {', '.join(repr(name) for name in twice)}.")


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its type."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _without_marks(values: Sequence[Any]) -> Sequence[Any]:
    """Give tensors as Python values, and pandas' marks for a missing value as None."""
    names = {type_.__name__ for type_ in set(map(type, values))}
    if "Tensor" in names:
        values = [value.tolist() if type(value).__name__ == "Tensor" else value for value in values]
    kinds = _kinds(values)
    nan_among_others = len(kinds) > 1 and "number" in kinds
    if nan_among_others or names & {"NAType", "NaTType"}:
        values = [None if _is_mark(value, nan_among_others) else value for value in values]
    return values


def _is_mark(value: Any, nan_counts: bool) -> bool:
    is_nan = nan_counts and isinstance(value, float) and math.isnan(value)
    return is_nan or type(value).__name__ in MISSING


def _check_one_kind(name: str, values: Sequence[Any]) -> None:
    if len(_kinds(values)) < 2:
        return
    present = ((row, _kind(type(v)), v) for row, v in enumerate(values) if type(v).__name__ not in MISSING)
    first, kind, value = next(present)
    row, other_kind, other = next(found for found in present if found[1] != kind)
    shown = f"row {first} is {_shown(value)} ({kind}), row {row} is {_shown(other)} ({other_kind})"
    raise ColumnError(f"Column `{name}` has values of mixed types: {shown}.")


def _kinds(values: Sequence[Any]) -> set[str]:
    return {_kind(type_) for type_ in set(map(type, values)) if type_.__name__ not in MISSING}


def _kind(type_: type) -> str:
    import numpy as np

    kinds = {
        "bool": (bool, np.bool_),
        "number": (int, float, np.integer, np.floating),
        "text": (str,),
        "bytes": (bytes, bytearray),
        "list": (list, tuple, np.ndarray),
        "dict": (Mapping,),
    }
    return next((kind for kind, types in kinds.items() if issubclass(type_, types)), type_.__name__)


def _first_refused(values: Sequence[Any]) -> int | None:
    import pyarrow as pa

    for row, value in enumerate(values):
        try:
            pa.array([value])
        except REFUSALS:
            return row
    return None  # each is fine by itself: lists or dicts whose contents differ


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _plain(table: pa.Table) -> pa.Table:
    import pyarrow as pa

    for position, field in enumerate(table.schema):
        type_ = _plain_type(field.type)
        if type_ != field.type:
            try:
                cast = table.column(position).cast(type_)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                continue  # over 2 GB of text in one piece, or a nesting without a cast: it stays as it is
            table = table.set_column(position, field.name, cast)
    return table


def _plain_type(type_: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    if isinstance(type_, pa.DictionaryType):
        return _plain_type(type_.value_type)
    if pa.types.is_large_string(type_) or pa.types.is_string_view(type_):
        return pa.string()  # shares the text's bytes with the large one
    if isinstance(type_, pa.ListType | pa.LargeListType | pa.ListViewType):
        return pa.list_(_plain_type(type_.value_type))
    return type_
