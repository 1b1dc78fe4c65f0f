"""Parquet and Arrow files, and folders that `save_to_disk` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from finesweep.data.columns import first_line
from finesweep.data.sources.files import file_bytes, read_splits, split_files
from finesweep.errors import DataError, Fault
from finesweep.system.paths import InputFiles, input_files

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset, DatasetDict

SAVED_BY_DATASETS = ("dataset_dict.json", "dataset_info.json", "state.json")


def parquet(
    train: InputFiles, validation: InputFiles | None = None, test: InputFiles | None = None
) -> DatasetDict:
    """Read Parquet files, with the types that they have.

    Args:
        train: a path, a list of paths, a pattern, or a folder with train.parquet, validation.parquet, ...
            (train-00000-of-00002.parquet is one of train's).
        validation: as train, without the folder.
        test: as train, without the folder.

    Raises:
        DataError: a file that is no Parquet.
    """
    return read_splits(split_files(train, validation, test, (".parquet",)), _read_parquet)


def arrow(
    train: InputFiles, validation: InputFiles | None = None, test: InputFiles | None = None
) -> DatasetDict:
    """Read Arrow or Feather files, or what `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote.

    Args:
        train: a path, a list of paths, a pattern, a folder with train.arrow and so on, or a saved one.
        validation: files, or the folder of a saved Dataset.
        test: files, or the folder of a saved Dataset.

    Raises:
        DataError: a file that is no Arrow file, or a folder that is neither.
    """
    from datasets import DatasetDict

    given = {"train": train, "validation": validation, "test": test}
    saved = {name: folder for name, paths in given.items() if paths and (folder := _saved_folder(paths))}
    if not saved:
        return read_splits(split_files(train, validation, test, (".arrow", ".feather")), _read_arrow)
    loose = [name for name, paths in given.items() if paths and name not in saved]
    if loose:
        rule = "It isn't a folder that save_to_disk wrote, and another split is."
        raise DataError(Fault(f"data.source.{loose[0]}", rule, given[loose[0]]))
    splits = DatasetDict()
    for name, folder in saved.items():
        part = _load(folder)
        if isinstance(part, DatasetDict):
            if len(saved) > 1:
                rule = "It is a saved DatasetDict, which names all splits; another split is set too."
                raise DataError(Fault(f"data.source.{name}", rule, folder))
            return part
        splits[name] = part
    return splits


def _saved_folder(paths: InputFiles) -> Path | None:
    found = input_files(paths)
    is_saved = len(found) == 1 and any((found[0] / name).is_file() for name in SAVED_BY_DATASETS)
    return found[0] if is_saved else None


def _load(folder: Path) -> Dataset | DatasetDict:
    import pyarrow as pa
    from datasets import load_from_disk

    try:
        return load_from_disk(folder)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        rule = f"save_to_disk's folder can't be read: {first_line(error)}"
        raise DataError(Fault(str(folder), rule, fix="Was it copied in full?")) from error


def _read_parquet(file: Path) -> pa.Table:
    import pyarrow as pa
    from pyarrow import parquet as arrow_parquet

    try:
        return arrow_parquet.read_table(pa.BufferReader(file_bytes(file)))
    except (pa.ArrowException, OSError) as error:
        raise DataError(Fault(str(file), f"It can't be read as Parquet: {first_line(error)}")) from error


def _read_arrow(file: Path) -> pa.Table:
    """Read the file format (Feather is one) or the stream format, which datasets' own files have."""
    import pyarrow as pa

    content = file_bytes(file)
    try:
        if content[:6].to_pybytes() == b"ARROW1":
            return pa.ipc.open_file(content).read_all()
        return pa.ipc.open_stream(content).read_all()
    except (pa.ArrowException, OSError) as error:
        raise DataError(Fault(str(file), f"It can't be read as Arrow: {first_line(error)}")) from error
