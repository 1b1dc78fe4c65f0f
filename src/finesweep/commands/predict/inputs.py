"""Rows to predict for: read from files or stdin in chunks, so that any number of them fits into memory."""

from __future__ import annotations

import csv
import io
import itertools
import json
import lzma
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from finesweep.data.columns import character
from finesweep.data.merged_rows import find_merged
from finesweep.data.sources.files import check_encoding, kind_of
from finesweep.errors import DataError, Fault

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK = 8192
LINES = "-"
MERGED = "several rows in one value (a stray quote?)"
ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")


@dataclass(frozen=True)
class Chunk:
    """Some rows of an input.

    Args:
        rows: by column name; a key that a row lacks is a null.
        problems: why a row can't be read, by its position in the chunk.
    """

    rows: list[dict[str, Any]]
    problems: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Input:
    """Rows in chunks.

    Args:
        name: the file's, for messages.
        columns: known before the first row, or empty.
        chunks: in order; they can be read once.
        total: how many rows there are, where that is known.
        schema: the types that a parquet file gives its columns.
    """

    name: str
    columns: tuple[str, ...]
    chunks: Iterator[Chunk]
    total: int | None = None
    schema: pa.Schema | None = None


def lines(
    names: tuple[str, ...], encoding: str = "utf-8", stdin: BinaryIO | None = None, size: int = CHUNK
) -> Input:
    """Read stdin: a text in each line; of pairs two, with a tab between them.

    Args:
        names: of the columns.
        encoding: of the lines.
        stdin: left out, the process's own.
        size: lines in a chunk; one where somebody types them.

    Raises:
        DataError: no such encoding; a byte of another one comes up while reading.
    """
    source = stdin or sys.stdin.buffer
    content = _decoded(source, encoding)
    size = 1 if source.isatty() else size

    def rows() -> Iterator[tuple[dict[str, Any], str | None]]:
        for line in _reported("stdin", encoding, content):
            texts = line.rstrip("\n").split("\t", len(names) - 1)
            problem = None if len(texts) == len(names) else "no tab between the two texts"
            yield dict(itertools.zip_longest(names, texts)), problem

    return Input("stdin", names, _chunks(rows(), size))


def file(
    path: Path,
    delimiter: str | None = None,
    encoding: str = "utf-8",
    quote: str | None = '"',
    *,
    multiline: bool = False,
    size: int = CHUNK,
) -> Input:
    """Open a csv, tsv, JSON-lines or parquet file, compressed (gz, bz2, zst, xz) if its name says so.

    Args:
        path: the file.
        delimiter: when left out, a comma, and of a tsv file a tab.
        encoding: of a text file.
        quote: what surrounds the values of a csv or tsv file; None reads quotes as text.
        multiline: take values that look like several rows of the file for values.
        size: rows in a chunk.

    Raises:
        DataError: a delimiter of several characters, no such file, or one of another kind; a byte of another
            encoding comes up while reading.
    """
    if not path.is_file():
        rule = "This is a folder." if path.is_dir() else "There is no such file."
        raise DataError(Fault(str(path), rule, fix="INPUT is a file, or - for lines on stdin."))
    kind = kind_of(path)
    if kind == ".parquet":
        return _parquet(path, size)
    if kind in (".csv", ".tsv"):
        delimiter = character(delimiter or ("\t" if kind == ".tsv" else ","))
        if not (len(delimiter) == 1 and delimiter.isascii()):
            rule = "It is one ASCII character, or comma, semicolon, tab, bar."
            raise DataError(Fault("--delimiter", rule, delimiter))
        opened = _delimited(path, delimiter, encoding, quote, size)
        return opened if multiline or not quote else _without_merged(opened, delimiter)
    if kind in ENDINGS:
        return Input(str(path), (), _chunks(_json_rows(path, encoding), size))
    raise DataError(Fault(str(path), "A file's ending says what it is.", kind or "none", valid=ENDINGS))


def _parquet(path: Path, size: int) -> Input:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        content = parquet.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise DataError(Fault(str(path), f"It is no parquet file: {error}")) from error
    schema = content.schema_arrow
    chunks = (Chunk(batch.to_pylist()) for batch in content.iter_batches(size))
    return Input(str(path), tuple(schema.names), chunks, content.metadata.num_rows, schema)


def _delimited(path: Path, delimiter: str, encoding: str, quote: str | None, size: int) -> Input:
    quoting = {"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE}
    reader = csv.reader(_text(path, encoding), delimiter=delimiter, **quoting)  # type: ignore[arg-type]
    rows = _reported(path, encoding, reader)
    header = next((row for row in rows if row), None)
    if not header:
        raise DataError(Fault(str(path), "The file is empty."))
    if len(set(header)) < len(header):
        twice = sorted({name for name in header if header.count(name) > 1})
        raise DataError(Fault(str(path), f"Columns have the same name: {', '.join(twice)}."))

    def named() -> Iterator[tuple[dict[str, Any], str | None]]:
        for row in rows:
            if row:  # not a blank line
                problem = f"{len(row)} fields; the header has {len(header)}"
                found = dict(itertools.zip_longest(header, row[: len(header)]))
                yield found, None if len(row) == len(header) else problem

    return Input(str(path), tuple(header), _chunks(named(), size))


def _without_merged(opened: Input, delimiter: str) -> Input:
    """Mark the rows in which a stray quote has merged rows of the file."""

    def marked(chunk: Chunk) -> Chunk:
        if not any(isinstance(value, str) and "\n" in value for row in chunk.rows for value in row.values()):
            return chunk
        import pyarrow as pa

        columns = {name: pa.array([row[name] for row in chunk.rows], pa.string()) for name in opened.columns}
        merged = {row: MERGED for row, _ in find_merged(pa.table(columns), delimiter)}
        return Chunk(chunk.rows, {**merged, **chunk.problems})

    return replace(opened, chunks=map(marked, opened.chunks))


def _json_rows(path: Path, encoding: str) -> Iterator[tuple[dict[str, Any], str | None]]:
    content = _reported(path, encoding, _text(path, encoding))
    first = next((line for line in content if line.strip()), "")
    if first.lstrip().startswith("["):
        try:
            values = json.loads(first + "".join(content))
        except ValueError as error:
            raise DataError(Fault(str(path), f"It is no JSON: {error}.")) from error
        yield from (_object(value) for value in values)
        return
    for line in itertools.chain([first], content):
        if line.strip():
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                value = None
            yield _object(value)


def _object(value: Any) -> tuple[dict[str, Any], str | None]:
    return (value, None) if isinstance(value, dict) else ({}, "no JSON object")


def _text(path: Path, encoding: str) -> TextIO:
    import pyarrow as pa

    csv.field_size_limit(2**31 - 1)
    if path.suffix.lower() == ".xz":  # which Arrow doesn't know
        return _decoded(lzma.LZMAFile(path), encoding, newline="")
    return _decoded(pa.input_stream(path, compression="detect"), encoding, newline="")


def _decoded(content: Any, encoding: str, newline: str | None = None) -> TextIO:
    check_encoding(encoding, "--encoding")
    encoding = "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding
    return io.TextIOWrapper(content, encoding, newline=newline)


def _reported(path: Path | str, encoding: str, content: Iterable[Any]) -> Iterator[Any]:
    """Pass lines or rows on; say where reading stopped, and why."""
    number = 0
    try:
        for line in content:
            yield line
            number += 1
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        rule = f"Not {encoding}: byte 0x{byte:02x} after {number} lines or a little later."
        raise DataError(Fault(str(path), rule, fix="Set --encoding (latin-1, cp1252, ...).")) from None
    except csv.Error as error:
        raise DataError(Fault(str(path), f"Row {number} can't be read: {error}.")) from error


def _chunks(rows: Iterator[tuple[dict[str, Any], str | None]], size: int) -> Iterator[Chunk]:
    while some := list(itertools.islice(rows, size)):
        problems = {position: problem for position, (_, problem) in enumerate(some) if problem}
        yield Chunk([row for row, _ in some], problems)
