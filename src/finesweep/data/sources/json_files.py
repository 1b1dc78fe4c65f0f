"""JSON files: one object per line, a list of objects, or a list under a key."""

from __future__ import annotations

import functools
import io
import json as python_json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep.data.columns import ColumnError, rows_table
from finesweep.data.sources.files import read_splits, split_files, utf8_bytes
from finesweep.errors import DataError, Fault
from finesweep.system.paths import InputFiles

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import DatasetDict

ENDINGS = (".json", ".jsonl", ".ndjson")


def json(
    train: InputFiles,
    validation: InputFiles | None = None,
    test: InputFiles | None = None,
    encoding: str = "utf-8",
    field: str = "data",
) -> DatasetDict:
    """Read JSON files: an object per line, a list of objects, or an object with such a list.

    Texts stay texts, those that look like dates too. A key that a row lacks is null.

    Args:
        train: a path, a list of paths, a pattern, or a folder with train.jsonl, validation.jsonl, ...
        validation: as train, without the folder.
        test: as train, without the folder.
        encoding: of the files.
        field: the key of the list, where the file is one object.

    Raises:
        DataError: what is no JSON, with its line; a column of mixed types, with the first row that differs.
    """
    files = split_files(train, validation, test, ENDINGS)
    return read_splits(files, functools.partial(_read, encoding=encoding, field=field))


def _read(file: Path, encoding: str, field: str) -> pa.Table:
    content = utf8_bytes(file, encoding)
    start = content[:4096].to_pybytes().lstrip()[:1]
    if start != b"[" and _is_lines(content):
        table = _read_lines(content)
        return table if table is not None else rows_table(_parse_lines(file, content))
    return rows_table(_rows_of(file, _parse(file, content.to_pybytes()), field))


def _is_lines(content: pa.Buffer) -> bool:
    """Tell whether the first line that isn't blank is an object of its own, and not the whole file."""
    import pyarrow as pa

    with io.TextIOWrapper(pa.BufferReader(content), encoding="utf-8", newline="\n") as stream:
        lines = (line for line in stream if line.strip())
        line, rest = next(lines, ""), next(lines, "")
    try:
        first = python_json.loads(line)
    except ValueError:
        return rest.lstrip().startswith("{")  # a bad first line among lines, or an object over several
    is_wrapper = isinstance(first, dict) and any(_is_rows(value) for value in first.values())
    return bool(rest) or not is_wrapper


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _read_lines(content: pa.Buffer) -> pa.Table | None:
    """Read with Arrow; None where it refuses, for a slower reader to say why or to do better."""
    import pyarrow as pa
    from pyarrow import json as arrow_json

    try:
        table = arrow_json.read_json(pa.BufferReader(content))
        texts = [pa.field(f.name, _untimed(f.type)) for f in table.schema if _untimed(f.type) != f.type]
        if texts:  # Arrow makes timestamps of texts that look like dates
            parse = arrow_json.ParseOptions(explicit_schema=pa.schema(texts))
            table = arrow_json.read_json(pa.BufferReader(content), parse_options=parse)
    except pa.ArrowInvalid:
        return None
    return table


def _untimed(type_: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    if pa.types.is_timestamp(type_):
        return pa.string()
    if pa.types.is_list(type_):
        return pa.list_(_untimed(type_.value_type))
    if pa.types.is_struct(type_):
        return pa.struct([field.with_type(_untimed(field.type)) for field in type_])
    return type_


def _parse_lines(file: Path, content: pa.Buffer) -> list[Any]:
    rows = []
    for number, line in enumerate(content.to_pybytes().split(b"\n"), start=1):
        if line.strip():
            try:
                rows.append(python_json.loads(line))
            except (ValueError, RecursionError) as error:
                rule = f"Line {number} is no JSON: {error}."
                fix = "A .jsonl file has one whole object in each line."
                raise DataError(Fault(str(file), rule, fix=fix)) from error
    return rows


def _parse(file: Path, content: bytes) -> Any:
    try:
        return python_json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(Fault(str(file), f"It is no JSON: {error}.")) from error


def _rows_of(file: Path, value: Any, field: str) -> list[Any]:
    if isinstance(value, dict):
        if field not in value:
            rule = f"It is one object, without the key `{field}` for its list of rows."
            fix = "Set data.source.field to the key that has them."
            raise DataError(Fault(str(file), rule, valid=tuple(value), fix=fix))
        value = value[field]
    if not isinstance(value, list):
        raise DataError(Fault(str(file), f"Rows are a list of objects, not {type(value).__name__}."))
    if not value:
        raise ColumnError("It has no rows.")
    return value
