"""Which files make which split, and their bytes."""

from __future__ import annotations

import lzma
import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep.data.class_labels import aligned_files
from finesweep.data.columns import ColumnError, dataset_of, first_line
from finesweep.errors import DataError, Fault
from finesweep.system.paths import InputFiles, input_files, split_called

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import DatasetDict

COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".xz": "xz"}
BYTE_ORDER_MARK = "\ufeff".encode()


def split_files(
    train: InputFiles, validation: InputFiles | None, test: InputFiles | None, endings: Collection[str]
) -> dict[str, list[Path]]:
    """List the files of each split.

    Args:
        train: a path, a list of paths, a pattern, or a folder with files named train.*, and maybe
            validation.* (val, valid, dev) and test.*.
        validation: files of the validation split.
        test: files of the test split.
        endings: the file name endings that count in a folder, such as `.csv`; a compression may follow.

    Raises:
        DataError: a folder without such files, or a file in two splits.
        FinesweepError: a path that isn't there.
    """
    given = {"train": train, "validation": validation, "test": test}
    files = {name: input_files(paths) for name, paths in given.items() if paths}
    if len(files["train"]) == 1 and files["train"][0].is_dir():
        files = _folder_files(files["train"][0], endings, [name for name in files if name != "train"])
    for name, found in files.items():
        folders = [str(file) for file in found if file.is_dir()]
        if folders:
            rule = "This is a folder; only train may be one, alone, with files named train.* and test.*."
            fix = f"Name its files: {folders[0]}/*{next(iter(endings), '')}"
            raise DataError(Fault(f"data.source.{name}", rule, folders[0], fix=fix))
    _check_once(files)
    return files


def read_splits(
    files: Mapping[str, Sequence[Path]],
    read: Callable[[Path], pa.Table],
    finish: Callable[[dict[str, pa.Table]], dict[str, pa.Table]] = lambda tables: tables,
) -> DatasetDict:
    """Read each split's files and join them.

    Args:
        files: of each split.
        read: makes a table of one file.
        finish: changes the joined tables, all splits at once.

    Raises:
        DataError: files of one split with other columns or types, or what `read` refuses.
    """
    from datasets import DatasetDict

    tables = finish({name: _joined({file: _read(file, read) for file in f}) for name, f in files.items()})
    splits = DatasetDict()
    for name, table in tables.items():
        try:
            splits[name] = dataset_of(table)
        except ColumnError as error:
            raise DataError(Fault(f"data.source.{name}", str(error))) from error
    return splits


def kind_of(file: Path) -> str:
    """Return a file's ending without that of a compression: `.csv` of rows.csv.gz."""
    inner = file.with_suffix("") if file.suffix.lower() in COMPRESSIONS else file
    return (inner.suffix or file.suffix).lower()


def file_bytes(file: Path) -> pa.Buffer:
    """Return a file's bytes, decompressed if its name says so, mapped into memory if not.

    Raises:
        DataError: an empty file, or one that can't be decompressed.
    """
    import pyarrow as pa

    if not file.stat().st_size:
        raise DataError(Fault(str(file), "The file is empty."))
    codec = COMPRESSIONS.get(file.suffix.lower())
    if codec is None:
        return pa.memory_map(str(file)).read_buffer()
    try:
        content = pa.py_buffer(_decompressed(file, codec))
    except (OSError, EOFError, lzma.LZMAError) as error:
        rule = f"Its name says {codec}, and it can't be decompressed: {first_line(error)}"
        raise DataError(Fault(str(file), rule, fix="Was it copied in full?")) from error
    if not content.size:
        raise DataError(Fault(str(file), "The file is empty."))
    return content


def utf8_bytes(file: Path, encoding: str = "utf-8") -> pa.Buffer:
    """Return a text file as UTF-8 without a byte-order mark.

    Raises:
        DataError: a byte that isn't of the encoding, with its line; an encoding that Python doesn't know.
    """
    import pyarrow as pa

    check_encoding(encoding)
    content = file_bytes(file)
    if encoding.lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig"):
        start = len(BYTE_ORDER_MARK) if content[: len(BYTE_ORDER_MARK)] == BYTE_ORDER_MARK else 0
        content = content.slice(start)
        if _is_utf8(content):
            return content
    try:
        return pa.py_buffer(content.to_pybytes().decode(encoding).removeprefix("\ufeff").encode())
    except UnicodeDecodeError as error:
        raise _not_decoded(file, error, encoding) from None


def check_encoding(encoding: str, key: str = "data.source.encoding") -> None:
    """Refuse an encoding that Python doesn't know.

    Args:
        encoding: its name.
        key: where it was given.

    Raises:
        DataError: with the common ones.
    """
    try:
        "".encode(encoding)
    except LookupError:
        fix = "utf-8, latin-1 and cp1252 are common."
        rule = "Python knows no such encoding."
        raise DataError(Fault(key, rule, encoding, fix=fix)) from None


def _folder_files(folder: Path, endings: Collection[str], others: Sequence[str]) -> dict[str, list[Path]]:
    if others:
        rule = f"train is a folder, which names all splits; data.source.{others[0]} is set too."
        raise DataError(Fault("data.source.train", rule, folder, fix="Set one of them to null."))
    if not endings:
        fix = f"Name its files with a pattern: data.source.train='{folder}/*'."
        raise DataError(
            Fault("data.source.train", "It is a folder; this reader takes files.", folder, fix=fix)
        )
    present = sorted(file for file in folder.iterdir() if kind_of(file) in endings)
    files: dict[str, list[Path]] = {}
    for file in present:
        split = split_called(file.name.replace("-", ".").replace("_", ".").partition(".")[0])
        if split:
            files.setdefault(split, []).append(file)
    if "train" not in files:
        rule = f"The folder has no file train.* of the kind {', '.join(endings)}."
        fix = f"All its files are train with data.source.train='{folder}/*{next(iter(endings))}'."
        valid = tuple(file.name for file in present)
        raise DataError(Fault("data.source.train", rule, folder, valid=valid, fix=fix if present else ""))
    return files


def _check_once(files: Mapping[str, Sequence[Path]]) -> None:
    seen: dict[Path, str] = {}
    for name, found in files.items():
        for file in found:
            if file.resolve() in seen:
                rule = f"This file is in {seen[file.resolve()]} already; a row must not be read twice."
                fix = "Check the patterns of both: each file belongs to one split, once."
                raise DataError(Fault(f"data.source.{name}", rule, file, fix=fix))
            seen[file.resolve()] = name


def _read(file: Path, read: Callable[[Path], pa.Table]) -> pa.Table:
    try:
        return read(file)
    except ColumnError as error:
        raise DataError(Fault(str(file), str(error))) from error


def _joined(tables: Mapping[Path, pa.Table]) -> pa.Table:
    import pyarrow as pa

    tables = aligned_files(tables)
    (first_file, first), *others = tables.items()
    for file, table in others:
        if set(table.column_names) != set(first.column_names):
            rule = f"Its columns differ from those of {first_file}: {', '.join(table.column_names)}."
            raise DataError(Fault(str(file), rule, valid=tuple(first.column_names)))
    try:
        return pa.concat_tables(tables.values(), promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        rule = f"The files from {first_file} to {[*tables][-1]} don't fit together: {first_line(error)}"
        raise DataError(Fault(str(first_file), rule, fix="Give the column one type in all files.")) from error


def _decompressed(file: Path, codec: str) -> Any:
    import pyarrow as pa

    if codec == "xz":
        return lzma.decompress(file.read_bytes())
    if not pa.Codec.is_available(codec):
        rule = f"This pyarrow was built without {codec}."
        fix = "pip install --force-reinstall pyarrow brings one that has it; or decompress the file."
        raise DataError(Fault(str(file), rule, fix=fix))
    with pa.CompressedInputStream(pa.OSFile(str(file)), codec) as stream:
        return stream.read()


def _is_utf8(content: pa.Buffer) -> bool:
    """Check without a copy: the bytes as the one text of an Arrow array, which can validate itself."""
    import pyarrow as pa

    offsets = pa.py_buffer(struct.pack("<qq", 0, content.size))
    array = pa.Array.from_buffers(pa.large_string(), 1, [None, offsets, content])
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _not_decoded(file: Path, error: UnicodeDecodeError, encoding: str) -> DataError:
    line = error.object.count(b"\n", 0, error.start) + 1
    column = error.start - (error.object.rfind(b"\n", 0, error.start) + 1)
    utf16 = error.object[:2] in (b"\xff\xfe", b"\xfe\xff")
    likely = "utf-16 by its first bytes" if utf16 else "latin-1, cp1252, ..."
    rule = f"Not {encoding}: byte 0x{error.object[error.start]:02x} at position {column} of line {line}."
    return DataError(Fault(str(file), rule, fix=f"Set data.source.encoding ({likely})."))
