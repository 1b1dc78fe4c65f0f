"""Where predictions go: a file by its ending, whole or not at all; or lines on stdout."""

from __future__ import annotations

import csv
import json
import math
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from finesweep.errors import DataError, Fault

if TYPE_CHECKING:
    import pyarrow as pa

ENDINGS = (".csv", ".tsv", ".jsonl", ".parquet")
SHOWN_CHARACTERS = 60
JOINT = "|"


class Output(Protocol):
    """Takes rows in order."""

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write some rows."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


def check_ending(path: Path) -> None:
    """Refuse a file whose ending says nothing.

    Raises:
        DataError: with those that do.
    """
    if path.suffix.lower() not in ENDINGS:
        raise DataError(Fault("-o", "A file's ending says what to write.", path.name, valid=ENDINGS))
    if not path.absolute().parent.is_dir():
        raise DataError(Fault("-o", "Its folder isn't there.", path))


@contextmanager
def opened(path: Path, schema: pa.Schema | None = None) -> Iterator[Output]:
    """Write to a file that appears under its name when all is written.

    Args:
        path: ends with one of ENDINGS.
        schema: types of some of the columns, for parquet.
    """
    staging = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
    kind = path.suffix.lower()
    made: Output = ParquetOutput(staging, schema) if kind == ".parquet" else TextOutput(staging, kind)
    try:
        try:
            yield made
        finally:
            made.close()
        os.replace(staging, path)
    finally:
        staging.unlink(missing_ok=True)


class TextOutput:
    """A csv, tsv or JSON-lines file; the first row names the columns of a csv file."""

    def __init__(self, path: Path, kind: str) -> None:
        self._file = path.open("x", encoding="utf-8", newline="")
        self._delimiter = {".csv": ",", ".tsv": "\t"}.get(kind)
        self._writer: csv.DictWriter[str] | None = None

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write some rows."""
        if self._delimiter is None:
            self._file.writelines(as_json(row) + "\n" for row in rows)
            return
        names = dict.fromkeys(name for row in rows for name in row)
        if self._writer is None:
            options: dict[str, Any] = {"delimiter": self._delimiter, "lineterminator": "\n"}
            self._writer = csv.DictWriter(self._file, list(names), **options)
            self._writer.writeheader()
        if late := [name for name in names if name not in self._writer.fieldnames]:
            rule = f"The column `{late[0]}` comes up first after the header was written."
            raise DataError(Fault("-o", rule, fix="Write .jsonl instead."))
        self._writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ParquetOutput:
    """A parquet file; the first rows give the types of the columns that `schema` doesn't have."""

    def __init__(self, path: Path, schema: pa.Schema | None) -> None:
        self._path, self._given = path, schema
        self._writer: Any = None

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write some rows."""
        import pyarrow as pa
        from pyarrow import parquet

        try:
            table = pa.Table.from_pylist(list(rows), schema=self._writer and self._writer.schema)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            rule = f"A column's values differ in their type: {error}"
            raise DataError(Fault("-o", rule, self._path.suffix, fix="Write .jsonl instead.")) from error
        if self._writer is None:
            schema = pa.schema([_typed(field, self._given) for field in table.schema])
            table = table.cast(schema)
            self._writer = parquet.ParquetWriter(self._path, schema)
        self._writer.write_table(table)

    def close(self) -> None:
        """Write the file's end."""
        if self._writer:
            self._writer.close()


class ScreenOutput:
    """Lines on stdout: JSON, or the prediction and the start of the text."""

    def __init__(self, text_column: str, prefix: str, *, json_lines: bool) -> None:
        self._text_column, self._prefix, self._json_lines = text_column, prefix, json_lines

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Print some rows."""
        for row in rows:
            print(as_json(row) if self._json_lines else self._line(row), flush=True)

    def close(self) -> None:
        """Do nothing."""

    def _line(self, row: dict[str, Any]) -> str:
        text = row.get(self._text_column)
        shown = " ".join((" ".join(text) if isinstance(text, list) else str(text or "")).split())
        shown = shown if len(shown) <= SHOWN_CHARACTERS else shown[: SHOWN_CHARACTERS - 3] + "..."
        value, scores = row[f"{self._prefix}predicted"], row.get(f"{self._prefix}score")
        if value is None:
            return f"-\t-\t{shown}"
        if isinstance(value, list):
            pairs = zip(value, scores or [], strict=True)
            return "\t".join([" ".join(f"{name}:{score:.3f}" for name, score in pairs) or "-", shown])
        return "\t".join([value, f"{scores:.4f}", shown] if scores is not None else [f"{value:.6g}", shown])


def as_json(row: dict[str, Any]) -> str:
    """Return a row as JSON; what JSON has no word for becomes text, a NaN null."""
    plain = {name: None if value != value else value for name, value in row.items()}
    return json.dumps(plain, ensure_ascii=False, default=str)


def _cell(value: Any) -> Any:
    """Return a value for a csv file: lists of names and numbers joined, what is nested as JSON."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, list) and not any(isinstance(part, list | dict) for part in value):
        return JOINT.join(map(str, value))
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict) else value


def _typed(field: pa.Field, given: pa.Schema | None) -> pa.Field:
    """Return a column's type: as it was read, text where there are nothing but nulls."""
    import pyarrow as pa

    if given is not None and field.name in given.names:
        return given.field(field.name)
    if pa.types.is_null(field.type):
        return field.with_type(pa.string())
    is_empty_list = pa.types.is_list(field.type) and pa.types.is_null(field.type.value_type)
    return field.with_type(pa.list_(pa.string())) if is_empty_list else field
