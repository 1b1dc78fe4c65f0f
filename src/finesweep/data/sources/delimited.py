"""CSV and TSV files, with types that lose nothing."""

from __future__ import annotations

import csv as python_csv
import functools
import importlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep.data.columns import ColumnError, character, check_names, first_line
from finesweep.data.merged_rows import find_merged
from finesweep.data.sources.files import COMPRESSIONS, read_splits, split_files, utf8_bytes
from finesweep.errors import DataError, Fault, nearest
from finesweep.system.paths import InputFiles

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import DatasetDict

ENDINGS = (".csv", ".tsv", ".txt")
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
EXAMPLES = 5
# Without leading zeros, signs and spaces, so that 007 stays a text; 18 digits fit into 64 bits.
INTEGER = r"^(0|-?[1-9][0-9]{0,17})$"
NUMBER = r"^-?((0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?|inf|Infinity)$"
COMMA_NUMBER = r"^-?([0-9]{1,3}(\.[0-9]{3})+|[0-9]+)(,[0-9]+)?$"
DECIMALS = {"point": ".", "comma": ","}
SHOWN = 200  # characters of a value in a message
BOOLEAN = r"^(?i:true|false)$"
ROW_BYTES = (1 << 23, 1 << 30)  # the longest row, at first and when one is longer


def csv(
    train: InputFiles,
    validation: InputFiles | None = None,
    test: InputFiles | None = None,
    delimiter: str = ",",
    quote: str | None = '"',
    encoding: str = "utf-8",
    types: dict[str, str] | None = None,
    decimal: str = ".",
    multiline: bool = False,
) -> DatasetDict:
    """Read delimited files with a header line.

    A column is made of whole numbers, decimal numbers or bools when each of its values, in every
    file, is written as one (empty cells and NA, null, NaN are then null); any other column keeps its
    texts as they are written: dates, 007 and NA too.

    Args:
        train: a path, a list of paths, a pattern, or a folder with train.csv, validation.csv, test.csv.
        validation: as train, without the folder.
        test: as train, without the folder.
        delimiter: one character, or its name: comma, semicolon, tab, bar.
        quote: what surrounds values that hold delimiters or newlines; null reads quotes as text.
        encoding: of the files.
        types: `string`, `int`, `float` or `bool` for a column that is not to be guessed.
        decimal: `,` (or `comma`) where 1,5 is one and a half and 1.000 a thousand; else `.` (or `point`).
        multiline: keep values that look like several rows of the file.

    Raises:
        DataError: a file of another encoding, lines that differ in their number of fields, names
            that are there twice, a wrong delimiter, no rows, rows that a stray quote has merged.
    """
    if DECIMALS.get(decimal, decimal) not in (".", ","):
        raise DataError(Fault("data.source.decimal", "It is point or comma.", decimal))
    delimiter = character(delimiter)
    for key, value in (("delimiter", delimiter), ("quote", quote)):
        if value is not None and not (len(value) == 1 and value.isascii()):
            names = " A delimiter may be called comma, semicolon, tab or bar." * (key == "delimiter")
            raise DataError(Fault(f"data.source.{key}", f"It is one ASCII character.{names}", value))
    settings = {"delimiter": delimiter, "quote": quote, "encoding": encoding, "multiline": multiline}
    files = split_files(train, validation, test, ENDINGS)
    has_commas = DECIMALS.get(decimal, decimal) == ","
    finish = functools.partial(_typed, types=types or {}, has_commas=has_commas)
    return read_splits(files, functools.partial(_read, **settings), finish)


def tsv(
    train: InputFiles,
    validation: InputFiles | None = None,
    test: InputFiles | None = None,
    quote: str | None = '"',
    encoding: str = "utf-8",
    types: dict[str, str] | None = None,
    decimal: str = ".",
    multiline: bool = False,
) -> DatasetDict:
    """Read files of tab-separated values with a header line; see `csv`."""
    return csv(train, validation, test, "\t", quote, encoding, types, decimal, multiline)


def header_of(train: str, delimiter: str, quote: str | None = '"', encoding: str = "utf-8") -> list[str]:
    """Return the names in the header line of the first training file, without reading the rest.

    Args:
        train: as for `csv`.
        delimiter: as for `csv`.
        quote: as for `csv`.
        encoding: as for `csv`.

    Returns:
        the names; none where the file is compressed, or has faults that reading all of it will name.

    Raises:
        FinesweepError: no such file, or a header that another delimiter was used in.
    """
    file, delimiter = split_files(train, None, None, ENDINGS)["train"][0], character(delimiter)
    if file.suffix.lower() in COMPRESSIONS or len(delimiter) != 1:
        return []
    marked = encoding.lower().replace("_", "-") in ("utf-8", "utf8")
    quoting = python_csv.QUOTE_MINIMAL if quote else python_csv.QUOTE_NONE
    try:
        with file.open(encoding="utf-8-sig" if marked else encoding, newline="") as lines:
            rows = python_csv.reader(lines, delimiter=delimiter, quotechar=quote, quoting=quoting)
            header = next((row for row in rows if row), [])
    except (OSError, ValueError, LookupError, TypeError, python_csv.Error):
        return []
    _check_header(file, header, delimiter)
    return header


def _read(file: Path, delimiter: str, quote: str | None, encoding: str, multiline: bool) -> pa.Table:
    """Read one file, every column as text."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    content = utf8_bytes(file, encoding)
    header, blank_lines = _header(content, delimiter, quote)
    _check_header(file, header, delimiter)
    options = arrow_csv.ConvertOptions(
        strings_can_be_null=False, column_types=dict.fromkeys(header, pa.string())
    )
    parse = arrow_csv.ParseOptions(delimiter=delimiter, quote_char=quote or False, newlines_in_values=True)
    for block_size in ROW_BYTES:
        layout = arrow_csv.ReadOptions(
            block_size=block_size, column_names=header, skip_rows=blank_lines, skip_rows_after_names=1
        )
        try:
            table = arrow_csv.read_csv(pa.BufferReader(content), layout, parse, options)
            break
        except pa.ArrowInvalid as error:
            if "straddl" not in str(error) or block_size == ROW_BYTES[-1]:
                rule, fix = _ragged(content, delimiter, quote, len(header)) or (first_line(error), "")
                raise DataError(Fault(str(file), rule, fix=fix)) from error
    else:
        raise AssertionError("the last block size neither read nor raised")
    if not len(table):
        raise DataError(Fault(str(file), "It has a header line and no rows.", ", ".join(header)))
    if quote and not multiline:
        _check_not_merged(file, table, delimiter)
    return table


def _check_not_merged(file: Path, table: pa.Table, delimiter: str) -> None:
    """Refuse a table in which a stray quote has merged rows of the file.

    Raises:
        DataError: with the first such row, and its value.
    """
    found = next(find_merged(table, delimiter), None)
    if found is None:
        return
    row, value = found
    name = DELIMITERS.get(delimiter, delimiter)
    shown = value if len(value) <= SHOWN else value[:SHOWN] + "..."
    rule = f"A quote seems to have merged rows: a value of row {row} holds {name}s and line ends: {shown!r}"
    fix = "data.source.quote=null reads quotes as text; data.source.multiline=true keeps such values."
    raise DataError(Fault(str(file), rule, fix=fix))


def _rows(content: pa.Buffer, delimiter: str, quote: str | None) -> Iterator[tuple[int, int, list[str]]]:
    """Give each row with its first and last line, the way Arrow reads it but slowly."""
    import pyarrow as pa

    lines = io.TextIOWrapper(pa.BufferReader(content), encoding="utf-8", newline="")
    quoting = python_csv.QUOTE_MINIMAL if quote else python_csv.QUOTE_NONE
    reader = python_csv.reader(lines, delimiter=delimiter, quotechar=quote, quoting=quoting)
    start = 1
    for row in reader:
        yield start, reader.line_num, row
        start = reader.line_num + 1


def _header(content: pa.Buffer, delimiter: str, quote: str | None) -> tuple[list[str], int]:
    try:
        rows = _rows(content, delimiter, quote)
        return next(((row, start - 1) for start, _, row in rows if row), ([], 0))
    except python_csv.Error as error:
        raise ColumnError(f"Its header line can't be read: {error}.") from error


def _check_header(file: Path, header: list[str], delimiter: str) -> None:
    if not header:
        raise DataError(Fault(str(file), "It has blank lines only."))
    others = [name for name in DELIMITERS if name != delimiter and name in header[0]]
    if len(header) == 1 and others:
        name = DELIMITERS[others[0]]
        rule = f"It has one column, whose name holds a {name}: `{header[0]}`."
        raise DataError(Fault(str(file), rule, fix=f"Set data.source.delimiter={name}."))
    check_names(header)


def _ragged(content: pa.Buffer, delimiter: str, quote: str | None, fields: int) -> tuple[str, str] | None:
    """Name the lines with another number of fields, and what may be behind it."""
    wrong = []
    try:
        for start, end, row in _rows(content, delimiter, quote):
            if row and len(row) != fields:
                wrong.append((start, end, len(row)))
    except python_csv.Error as error:
        return f"It can't be read as delimited text: {error}.", "Is a quote left open?"
    if not wrong:
        return None
    listed = ", ".join(f"line {start} has {count}" for start, _, count in wrong[:EXAMPLES])
    more = f" ({len(wrong)} lines in all)" if len(wrong) > EXAMPLES else ""
    start, end, _ = wrong[-1]
    rule = f"The header has {fields} field{'s' * (fields != 1)}, and {listed}{more}."
    if end > start:
        return rule, (
            f"Is the quote that opens in line {start} closed? data.source.quote=null reads quotes as text."
        )
    return rule, "Values with a delimiter or a newline need quotes around them; check data.source.delimiter."


def _typed(tables: dict[str, pa.Table], types: dict[str, str], *, has_commas: bool) -> dict[str, pa.Table]:
    """Give each column its type, the same in all splits."""
    valid = ("string", "int", "float", "bool")
    names = list(dict.fromkeys(name for table in tables.values() for name in table.column_names))
    for name, type_ in types.items():
        if name not in names:
            rule = f"There is no such column. {nearest(name, names)}".strip()
            raise DataError(Fault(f"data.source.types.{name}", rule, type_, valid=tuple(names)))
        if type_ not in valid:
            raise DataError(Fault(f"data.source.types.{name}", "No such type.", type_, valid=valid))
    for name in names:
        columns = {split: t.column(name) for split, t in tables.items() if name in t.column_names}
        if has_commas and types.get(name) != "string":
            columns = _with_points(columns)
        type_ = types.get(name) or _type_of([_without_nulls(c) for c in columns.values()])
        for split, column in columns.items():
            position = tables[split].column_names.index(name)
            tables[split] = tables[split].set_column(position, name, _cast(name, column, type_))
    return tables


def _with_points(columns: dict[str, pa.ChunkedArray]) -> dict[str, pa.ChunkedArray]:
    """Write 1.234,5 as 1234.5 in a column of which each value is such a number; another column stays."""
    pc = _compute()
    present = [_without_nulls(column) for column in columns.values()]
    if any(pc.all(pc.match_substring_regex(column, COMMA_NUMBER)).as_py() is False for column in present):
        return columns
    plain = (pc.replace_substring(column, ".", "") for column in columns.values())
    return dict(zip(columns, (pc.replace_substring(column, ",", ".") for column in plain), strict=True))


def _without_nulls(column: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    pc = _compute()
    nulls = pa.array(arrow_csv.ConvertOptions().null_values)
    return pc.if_else(pc.is_in(column, nulls), pa.scalar(None, pa.string()), column)


def _type_of(columns: list[pa.ChunkedArray]) -> str:
    pc = _compute()
    if all(column.null_count == len(column) for column in columns):
        return "string"
    for type_, pattern in (("int", INTEGER), ("float", NUMBER), ("bool", BOOLEAN)):
        fits = (pc.all(pc.match_substring_regex(column, pattern)).as_py() for column in columns)
        if all(fit is not False for fit in fits):  # None: nothing but nulls
            return type_
    return "string"


def _compute() -> Any:
    """Return Arrow's functions, which are made at import time and unknown to type checkers."""
    return importlib.import_module("pyarrow.compute")


def _cast(name: str, column: pa.ChunkedArray, type_: str) -> pa.ChunkedArray:
    import pyarrow as pa

    if type_ == "string":
        return column
    target = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}[type_]
    try:
        return _without_nulls(column).cast(target)
    except pa.ArrowInvalid as error:
        rule = f"A value of the column is of another type: {first_line(error)}"
        raise DataError(Fault(f"data.source.types.{name}", rule, type_)) from error
