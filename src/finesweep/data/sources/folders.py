"""Folders of text files, one subfolder for each label."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from finesweep.data.sources.files import check_encoding
from finesweep.errors import DataError, Fault
from finesweep.paths import InputPath, input_path, split_called

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict


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

    check_encoding(encoding)
    root = input_path(path)
    splits = {split: folder for folder in sorted(root.glob("*/")) if (split := split_called(folder.name))}
    if "train" in splits:
        return DatasetDict(
            {name: _read(folder, encoding, encoding_errors) for name, folder in splits.items()}
        )
    return _read(root, encoding, encoding_errors)


def _read(root: Path, encoding: str, errors: str) -> Dataset:
    from datasets import Dataset

    files = sorted(root.glob("*/*.txt"))
    if not files:
        rule = "A folder of texts is DIR/<label>/*.txt, and there is no such file."
        raise DataError(Fault("data.source.path", rule, root))
    texts = [_text(file, encoding, errors) for file in files]
    return Dataset.from_dict({"text": texts, "label": [file.parent.name for file in files]})


def _text(file: Path, encoding: str, errors: str) -> str:
    try:
        return file.read_text(encoding=encoding, errors=errors).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        rule = f"Not {encoding}: byte 0x{error.object[error.start]:02x} at position {error.start}."
        fix = "Set data.source.encoding (latin-1, cp1252, ...), or data.source.encoding_errors=replace."
        raise DataError(Fault(str(file), rule, fix=fix)) from None
