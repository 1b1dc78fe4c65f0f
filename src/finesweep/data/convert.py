"""From whatever a source returns to splits that are `datasets.Dataset`s, through Arrow."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from finesweep.data.class_labels import aligned
from finesweep.data.columns import (
    REFUSALS,
    ColumnError,
    check_names,
    column,
    dataset_of,
    first_line,
    rows_table,
)
from finesweep.errors import DataError, Fault, nearest
from finesweep.system.paths import SPLIT_NAMES, split_called

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    from datasets import Dataset

ACCEPTED = (
    "datasets.Dataset", "pandas DataFrame", "polars DataFrame or LazyFrame", "pyarrow Table",
    "torch map-style Dataset of dicts", "list of dicts", "dict of split name to one of these",
)  # fmt: skip
STREAM_RULE = "It is a stream; splitting, shuffling and counting steps need all rows, and to read them twice."


def as_splits(source: Any) -> dict[str, Dataset]:
    """Turn what a source returned into train and, where given, validation and test.

    Rows without splits are train. A split called val, valid or dev is validation. A dict's value of
    None is a split that isn't there. ClassLabels have the same names in all splits afterwards.

    Args:
        source: one of ACCEPTED.

    Returns:
        Splits in the order train, validation, test; each has rows and columns.

    Raises:
        DataError: a stream, a type or split name that isn't accepted, a split without rows, a column
            of mixed types; all splits' faults at once.
    """
    parts = _named_parts(source) if isinstance(source, Mapping) else {"train": source}
    faults: list[Fault] = []
    splits: dict[str, Dataset] = {}
    for name, part in parts.items():
        try:
            splits[name] = _dataset(part)
        except ColumnError as error:
            faults.append(Fault("data.source", f"In the {name} split: {error}"))
        except DataError as error:
            faults += error.faults
    faults += [fault for name, split in splits.items() if (fault := _emptiness(name, split))]
    if faults:
        raise DataError(*faults)
    return aligned({name: splits[name] for name in SPLIT_NAMES if name in splits})


def _named_parts(source: Mapping[Any, Any]) -> dict[str, Any]:
    given = {str(name): part for name, part in source.items() if part is not None}
    if given and all(not split_called(name) and isinstance(part, list) for name, part in given.items()):
        fix = "Of a dict of columns, datasets.Dataset.from_dict(...) makes one."
        raise DataError(_type_fault("a dict of lists", fix))
    names: dict[str, str] = {}
    for name in given:
        split = split_called(name)
        if split is None:
            raise DataError(_unknown_split(name))
        if split in names:
            rule = f"`{names[split]}` and `{name}` are two names of the {split} split."
            raise DataError(Fault("data.source", rule, fix="Keep one of them."))
        names[split] = name
    if "train" not in names:
        rule = "There is no train split."
        raise DataError(Fault("data.source", rule, valid=tuple(given), fix="Call one of its splits `train`."))
    return {split: given[name] for split, name in names.items()}


def _unknown_split(name: str) -> Fault:
    valid = ("train", "validation (or val, valid, dev)", "test")
    rule = f"A source has the splits train, validation and test. {nearest(name, SPLIT_NAMES, 0.6)}".strip()
    fix = "Rename it or leave it out; data=hub picks a hub data set's splits with data.source.splits."
    return Fault("data.source", rule, name, valid=valid, fix=fix)


def _emptiness(name: str, split: Dataset) -> Fault | None:
    if not split.column_names:
        return Fault("data.source", f"The {name} split has no columns.")
    if not len(split):
        fix = "" if name == "train" else "Leave it out: it is then made from train."
        return Fault("data.source", f"The {name} split has no rows.", fix=fix)
    return None


def _dataset(part: Any) -> Dataset:
    import pyarrow as pa
    from datasets import Dataset, IterableDataset

    if isinstance(part, Dataset):
        return part.with_format(None) if part.format["type"] else part
    if isinstance(part, IterableDataset):
        fix = "Load it without streaming; data.limit is the way to fewer rows."
        raise DataError(Fault("data.source", STREAM_RULE, type(part).__name__, fix=fix))
    if isinstance(part, pa.RecordBatch):
        part = pa.Table.from_batches([part])
    if isinstance(part, list | tuple):
        part = rows_table(part)
    elif (table := frame_table(part)) is not None:
        part = table
    elif _is(part, "torch.utils.data", "Dataset"):
        part = rows_table(_torch_rows(part))
    if not isinstance(part, pa.Table):
        raise DataError(_type_fault(type(part).__name__))
    return dataset_of(part)


def frame_table(value: Any) -> pa.Table | None:
    """Turn a frame of pandas (without its index) or polars into a table; None for anything else.

    Raises:
        ColumnError: duplicated names, a column of mixed types, or a type that Arrow doesn't have.
    """
    if _is(value, "pandas", "DataFrame"):
        return _pandas_table(value)
    if _is(value, "polars", "DataFrame", "LazyFrame"):
        return _polars_table(value)
    return None


def _is(value: Any, module: str, *names: str) -> bool:
    """Tell whether a value is of a library's type, without importing the library: if it is, it was."""
    loaded = sys.modules.get(module)
    return any(isinstance(value, getattr(loaded, name, ())) for name in names) if loaded else False


def _type_fault(kind: str, fix: str = "") -> Fault:
    return Fault("data.source", f"A source returns rows as one of the types below, not {kind}.",
                 valid=ACCEPTED, fix=fix)  # fmt: skip


def _pandas_table(frame: pd.DataFrame) -> pa.Table:
    import pyarrow as pa

    names = [str(name) for name in frame.columns]
    check_names(names)
    arrays = [_pandas_column(name, frame.iloc[:, i]) for i, name in enumerate(names)]
    return pa.table(arrays, names=names)


def _pandas_column(name: str, series: pd.Series) -> Any:
    import pyarrow as pa

    if series.dtype == object:
        return column(name, series.tolist())
    try:
        return pa.Array.from_pandas(series)
    except REFUSALS as error:
        rule = f"Column `{name}` is of the pandas type {series.dtype}, which Arrow can't hold."
        raise ColumnError(rule) from error


def _polars_table(frame: pl.DataFrame | pl.LazyFrame) -> pa.Table:
    import polars as pl
    import pyarrow as pa

    try:
        whole = frame.collect() if isinstance(frame, pl.LazyFrame) else frame
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ColumnError(f"The polars LazyFrame can't be collected: {first_line(error)}") from error
    return pa.table({series.name: _polars_column(series) for series in whole.get_columns()})


def _polars_column(series: pl.Series) -> Any:
    import polars as pl

    if series.dtype == pl.Object:
        return column(series.name, series.to_list())
    try:
        return series.to_arrow(compat_level=pl.CompatLevel.oldest())
    except (*REFUSALS, pl.exceptions.PolarsError) as error:
        rule = f"Column `{series.name}` is of the polars type {series.dtype}, which Arrow can't hold."
        raise ColumnError(rule) from error


def _torch_rows(rows: Any) -> list[Any]:
    """Read every row of a map-style data set; an error in its `__getitem__` is the user's to see."""
    from torch.utils.data import IterableDataset

    if isinstance(rows, IterableDataset) or not hasattr(rows, "__len__"):
        fix = "Give it __len__ and __getitem__."
        raise DataError(Fault("data.source", STREAM_RULE, type(rows).__name__, fix=fix))
    return [rows[i] for i in range(len(rows))]
