"""Files through a reader of pandas or polars."""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep.data.columns import first_line
from finesweep.data.convert import frame_table
from finesweep.data.sources.files import read_splits, split_files
from finesweep.errors import DataError, Fault, nearest
from finesweep.system.paths import InputFiles

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import DatasetDict

# Readers that don't take a file, or that run what is in it.
REFUSED = {
    "read_pickle": "A pickle runs code when it is read; save the rows as Parquet.",
    "read_hdf": "An HDF file may hold pickles, which run code; save the rows as Parquet.",
    "read_clipboard": "It reads no file, so the run could not be repeated.",
    "read_sql": "It reads no file; data=sql does this.",
    "read_sql_query": "It reads no file; data=sql does this.",
    "read_sql_table": "It reads no file; data=sql does this.",
    "read_database": "It reads no file; data=sql does this.",
    "read_database_uri": "It reads no file; data=sql does this.",
}


def pandas(
    reader: str,
    train: InputFiles,
    validation: InputFiles | None = None,
    test: InputFiles | None = None,
    options: dict | None = None,
) -> DatasetDict:
    """Read files with a reader of pandas; the index is no column, a categorical's values are.

    Args:
        reader: the name of a `pandas.read_*` that takes a path, such as read_excel.
        train: a path, a list of paths, or a pattern.
        validation: as train.
        test: as train.
        options: further arguments of the reader.

    Raises:
        DataError: no such reader, a file or option that it refuses, or a result that is no frame.
    """
    return _read_all("pandas", ("read_",), reader, {"train": train, "validation": validation, "test": test},
                     options or {})  # fmt: skip


def polars(
    reader: str,
    train: InputFiles,
    validation: InputFiles | None = None,
    test: InputFiles | None = None,
    options: dict | None = None,
) -> DatasetDict:
    """Read files with a reader of polars.

    Args:
        reader: the name of a `polars.read_*` or `polars.scan_*` that takes a path, such as scan_ndjson.
        train: a path, a list of paths, or a pattern.
        validation: as train.
        test: as train.
        options: further arguments of the reader.

    Raises:
        DataError: no such reader, a file or option that it refuses, or a result that is no frame.
    """
    return _read_all("polars", ("read_", "scan_"), reader,
                     {"train": train, "validation": validation, "test": test}, options or {})  # fmt: skip


def _read_all(
    library: str, prefixes: tuple[str, ...], reader: str, paths: dict[str, Any], options: dict[str, Any]
) -> DatasetDict:
    function = _reader(library, prefixes, reader)
    files = split_files(paths["train"], paths["validation"], paths["test"], ())
    return read_splits(files, functools.partial(_read, function=function, options=options, library=library))


def _reader(library: str, prefixes: tuple[str, ...], name: str) -> Any:
    try:
        module = importlib.import_module(library)
    except ImportError as error:
        rule = f"{library} can't be imported: {first_line(error)}"
        raise DataError(Fault("data.source._target_", rule, fix=f"pip install {library}")) from error
    readers = [attribute for attribute in dir(module) if attribute.startswith(prefixes)]
    if name in REFUSED and name in readers:
        raise DataError(Fault("data.source.reader", REFUSED[name], name))
    valid = tuple(attribute for attribute in readers if attribute not in REFUSED)
    if name not in valid:
        rule = f"{library} has no such reader. {nearest(name, valid)}".strip()
        raise DataError(Fault("data.source.reader", rule, name, valid=valid))
    return getattr(module, name)


def _read(file: Path, function: Any, options: dict[str, Any], library: str) -> pa.Table:
    try:
        frame = function(file, **options)
    except Exception as error:  # every reader, and every library behind one, has errors of its own
        rule = f"{library}.{function.__name__} can't read it: {first_line(error)}"
        fix = "Check data.source.reader and data.source.options."
        raise DataError(Fault(str(file), rule, fix=fix)) from error
    table = frame_table(frame)
    if table is None:
        rule = f"{library}.{function.__name__} gave a {type(frame).__name__}, not a frame."
        fix = "Change data.source.options, or pick the frame in a function of yours: data=python."
        raise DataError(Fault(str(file), rule, fix=fix))
    return table
