"""Where rows come from: each source returns a `datasets.Dataset`, or a `DatasetDict` of splits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep.errors import DataError, Fault, FinesweepError, nearest
from finesweep.paths import HubDataset, InputPath, input_path

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

SPLITS = ("train", "validation", "test")


def text_folders(
    path: InputPath, encoding: str = "utf-8", encoding_errors: str = "strict"
) -> Dataset | DatasetDict:
    """Read a folder of text files in one subfolder for each label.

    Args:
        path: DIR with DIR/<label>/*.txt, or DIR/{train,validation,test}/<label>/*.txt.
        encoding: of the files.
        encoding_errors: `strict` refuses a file with bytes that are not of the encoding; `replace`
            puts U+FFFD for them.

    Returns:
        Columns `text` and `label`, in the order of the file names.

    Raises:
        DataError: no text files, or one that can't be decoded, with its name.
    """
    from datasets import DatasetDict

    root = input_path(path)
    splits = [name for name in SPLITS if (root / name).is_dir()]
    if "train" in splits:
        return DatasetDict({name: _read_folders(root / name, encoding, encoding_errors) for name in splits})
    return _read_folders(root, encoding, encoding_errors)


def csv(
    train: InputPath,
    validation: InputPath | None = None,
    test: InputPath | None = None,
    delimiter: str = ",",
) -> DatasetDict:
    """Read delimited files with a header line, one for each split.

    Returns:
        The files' columns, with numbers as numbers.

    Raises:
        DataError: a file that isn't UTF-8 or whose lines differ in their number of fields.
    """
    from datasets import DatasetDict

    files = {"train": train, "validation": validation, "test": test}
    return DatasetDict({name: _read_csv(path, delimiter) for name, path in files.items() if path})


def hub(
    path: HubDataset,
    name: str | None = None,
    revision: str | None = None,
    splits: dict | None = None,
) -> DatasetDict:
    """Load a data set from the Hugging Face Hub, or from a local folder in a hub data set's layout.

    Args:
        path: OWNER/NAME, or a folder.
        name: the data set's configuration, where it has several.
        revision: a commit, tag or branch.
        splits: which of its splits serve as train, validation and test; None for those that don't exist.

    Raises:
        DataError: a split that isn't there, or a name that can't be loaded.
    """
    from datasets import DatasetDict, load_dataset

    try:
        loaded = load_dataset(path, name, revision=revision)
    except (OSError, ValueError) as error:
        rule = f"It can't be loaded: {str(error).splitlines()[0]}"
        raise DataError(
            Fault("data.source.path", rule, path, fix="Check path, name and revision.")
        ) from error
    available = tuple(str(split) for split in loaded)
    wanted = splits or {split: split for split in SPLITS if split in available}
    for role, split in wanted.items():
        if split is not None and split not in available:
            rule = f"The data set has no such split. {nearest(split, available)}".strip()
            fix = f"data.source.splits.{role}=null makes it from train."
            raise DataError(Fault(f"data.source.splits.{role}", rule, split, valid=available, fix=fix))
    return DatasetDict({role: loaded[split] for role, split in wanted.items() if split is not None})


def _read_folders(root: Path, encoding: str, errors: str) -> Dataset:
    from datasets import Dataset

    files = sorted(root.glob("*/*.txt"))
    if not files:
        rule = "A folder of texts is DIR/<label>/*.txt, and there is no such file."
        raise DataError(Fault("data.source.path", rule, root))
    texts = [_read_text(file, encoding, errors) for file in files]
    return Dataset.from_dict({"text": texts, "label": [file.parent.name for file in files]})


def _read_text(file: Path, encoding: str, errors: str) -> str:
    try:
        return file.read_text(encoding=encoding, errors=errors).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        rule = f"Not {encoding}: byte 0x{error.object[error.start]:02x} at position {error.start}."
        fix = "Set data.source.encoding (latin-1, cp1252, ...), or data.source.encoding_errors=replace."
        raise DataError(Fault(str(file), rule, fix=fix)) from None
    except LookupError:
        fix = "utf-8, latin-1 and cp1252 are common."
        raise DataError(
            Fault("data.source.encoding", "Python knows no such encoding.", encoding, fix=fix)
        ) from None


def _read_csv(path: str, delimiter: str) -> Dataset:
    import pyarrow as pa
    from datasets import Dataset
    from pyarrow import csv as arrow_csv

    try:
        table = arrow_csv.read_csv(
            input_path(path),
            parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(strings_can_be_null=False),
        )
    except (pa.ArrowInvalid, ValueError) as error:
        if isinstance(error, FinesweepError):
            raise
        rule = f"It can't be read as delimited text: {str(error).splitlines()[0]}"
        raise DataError(
            Fault(path, rule, fix="Check data.source.delimiter; the file must be UTF-8.")
        ) from error
    return Dataset(_plain_strings(table))


def _plain_strings(table: Any) -> Any:
    """Name a table's columns without a byte-order mark (Arrow keeps one in the first name)."""
    return table.rename_columns([name.removeprefix("\ufeff") for name in table.column_names])
