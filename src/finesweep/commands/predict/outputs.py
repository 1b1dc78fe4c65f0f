"""Where predictions go: a file by its ending, whole or not at all; or lines on stdout."""

from __future__ import annotations

import csv
import errno
import json
import math
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from finesweep.errors import DataError, Fault
from finesweep.system.files import finite
from finesweep.system.terminal import visible

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
    if path.is_dir():
        raise DataError(Fault("-o", "This is a folder.", path))


@contextmanager
def opened(
    path: Path, names: Sequence[str] = (), schemas: Iterable[Iterable[pa.Field]] = ()
) -> Iterator[Output]:
    """Write to a file that appears under its name when all is written.

    Args:
        path: ends with one of ENDINGS.
        names: of the columns, in order; left out, those of the first rows.
        schemas: types of some of the columns, for parquet; others are as the first rows have them.
    """
    staging = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
    try:
        staging.touch(exist_ok=False)
    except OSError as error:
        raise DataError(Fault("-o", f"It can't be written: {error.strerror}.", path)) from error
    kind = path.suffix.lower()
    types = {field.name: field.type for schema in schemas for field in schema}
    made: Output = (
        ParquetOutput(staging, names, types) if kind == ".parquet" else TextOutput(staging, kind, names)
    )
    try:
        try:
            yield made
        finally:
            made.close()
        os.replace(staging, path)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        rule = "The disk is full; nothing was written."
        raise DataError(Fault("-o", rule, path, fix="Free some space, or name a file elsewhere.")) from error
    finally:
        staging.unlink(missing_ok=True)


class TextOutput:
    """A csv, tsv or JSON-lines file; a csv file without rows has its header."""

    def __init__(self, path: Path, kind: str, names: Sequence[str] = ()) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._delimiter = {".csv": ",", ".tsv": "\t"}.get(kind)
        self._names = list(names)
        self._writer: csv.DictWriter[str] | None = None

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write some rows."""
        if self._delimiter is None:
            self._file.writelines(as_json(row) + "\n" for row in rows)
            return
        if self._writer is None:
            self._names = self._names or list(_names_of(rows))
            options: dict[str, Any] = {"delimiter": self._delimiter, "lineterminator": "\n"}
            self._writer = csv.DictWriter(self._file, self._names, **options)
            self._writer.writeheader()
        _check_names(rows, self._names)
        self._writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)

    def close(self) -> None:
        """Close the file."""
        try:
            if self._names and self._writer is None:
                self.write([])
        finally:
            self._file.close()


class ParquetOutput:
    """A parquet file; the first rows give the types of the columns that `types` doesn't have."""

    def __init__(self, path: Path, names: Sequence[str], types: Mapping[str, pa.DataType]) -> None:
        self._path, self._names, self._types = path, list(names), types
        self._writer: Any = None

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write some rows."""
        import pyarrow as pa
        from pyarrow import parquet

        self._names = self._names or list(_names_of(rows))
        _check_names(rows, self._names)
        try:
            columns = {name: self._column([row.get(name) for row in rows], name) for name in self._names}
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            rule = f"A column's values differ in their type: {error}"
            raise DataError(Fault("-o", rule, self._path.suffix, fix="Write .jsonl instead.")) from error
        table = pa.table(columns)
        if self._writer is None:
            self._writer = parquet.ParquetWriter(self._path, table.schema)
            self._types = {field.name: field.type for field in table.schema}
        self._writer.write_table(table)

    def close(self) -> None:
        """Write the file's end."""
        if self._writer is None:
            self.write([])
        assert self._writer is not None
        self._writer.close()

    def _column(self, values: list[Any], name: str) -> pa.Array:
        """Return values in their type: as it was read, text where there are nothing but nulls."""
        import pyarrow as pa

        found = pa.array(values, self._types.get(name))
        if pa.types.is_null(found.type):
            return found.cast(pa.string())
        is_empty_list = pa.types.is_list(found.type) and pa.types.is_null(found.type.value_type)
        return found.cast(pa.list_(pa.string())) if is_empty_list else found


def _names_of(rows: Sequence[dict[str, Any]]) -> dict[str, None]:
    return dict.fromkeys(name for row in rows for name in row)


def _check_names(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> None:
    """Refuse rows with a column for which there is no place.

    Raises:
        DataError: with its name.
    """
    known = set(names)
    if late := next((name for row in rows for name in row if name not in known), None):
        rule = f"The column `{late}` comes up first after the header was written."
        raise DataError(Fault("-o", rule, fix="Write .jsonl instead."))


class ScreenOutput:
    """Lines on stdout: JSON, or the prediction and the start of the text."""

    def __init__(self, text_column: str, prefix: str, *, json_lines: bool) -> None:
        self._text_column, self._prefix, self._json_lines = text_column, prefix, json_lines

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Print some rows."""
        for row in rows:
            print(as_json(row) if self._json_lines else visible(self._line(row)), flush=True)

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
    """Return a row as JSON; what JSON has no word for becomes text, NaN and infinity null."""
    return json.dumps(finite(row), ensure_ascii=False, default=str)


def _cell(value: Any) -> Any:
    """Return a value for a csv file: lists of names and numbers joined, what is nested as JSON."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, list) and not any(isinstance(part, list | dict) for part in value):
        return JOINT.join(map(str, value))
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict) else value
