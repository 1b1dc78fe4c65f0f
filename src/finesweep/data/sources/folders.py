"""Folders of text files, one subfolder for each label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from finesweep.data.sources.files import check_encoding
from finesweep.errors import DataError, Fault
from finesweep.system.paths import InputPath, input_path, split_called

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict


NO_LABELS = ("__MACOSX",)


def text_folders(
    path: InputPath,
    encoding: str = "utf-8",
    encoding_errors: str = "strict",
    ignore: Sequence[str] = (),
) -> Dataset | DatasetDict:
    """Read a folder of text files in one subfolder for each label.

    Args:
        path: DIR with DIR/<label>/*.txt, or DIR/{train,validation,test}/<label>/*.txt.
        encoding: of the files.
        encoding_errors: `strict` refuses a file with bytes that are not of the encoding; `replace`
            puts U+FFFD for them.
        ignore: names of folders that are no labels. Those that begin with a dot, and __MACOSX, never are.

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
            {name: _read(folder, encoding, encoding_errors, ignore) for name, folder in splits.items()}
        )
    return _read(root, encoding, encoding_errors, ignore)


def _read(root: Path, encoding: str, errors: str, ignore: Sequence[str]) -> Dataset:
    from datasets import Dataset

    files = [file for file in sorted(root.glob("*/*.txt")) if not _is_aside(file, ignore)]
    if not files:
        rule = "A folder of texts is DIR/<label>/*.txt, and there is no such file."
        raise DataError(Fault("data.source.path", rule, root))
    texts = [_text(file, encoding, errors) for file in files]
    return Dataset.from_dict({"text": texts, "label": [file.parent.name for file in files]})


def _is_aside(file: Path, ignore: Sequence[str]) -> bool:
    """Say whether a file was left by a notebook, an editor or an archiver, or is in an ignored folder."""
    folder = file.parent.name
    return file.name.startswith(".") or folder.startswith(".") or folder in (*NO_LABELS, *ignore)


def _text(file: Path, encoding: str, errors: str) -> str:
    try:
        return file.read_text(encoding=encoding, errors=errors).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        rule = f"Not {encoding}: byte 0x{error.object[error.start]:02x} at position {error.start}."
        fix = "Set data.source.encoding (latin-1, cp1252, ...), or data.source.encoding_errors=replace."
        raise DataError(Fault(str(file), rule, fix=fix)) from None
