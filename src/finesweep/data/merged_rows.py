"""Rows that a quote which opens and never closes has merged into one value."""

from __future__ import annotations

import csv
import importlib
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

LINE_END = re.compile(r"\r\n|\r|\n")
ANY_DELIMITER = re.compile(r"[\t,;|]")


def find_merged(table: pa.Table, delimiter: str) -> Iterator[tuple[int, str]]:
    """Yield each row, and the value in it, that looks like several rows of the file.

    Such a value holds line ends and, between them, as many delimiters as whole rows have; and where a
    column has few different values, or numbers alone, what would stand there is like them. A tab beside a
    line end is enough: in a file of tabs, a text of several lines is hardly quoted for its tabs.

    Args:
        table: every column as text.
        delimiter: one character.
    """
    compute: Any = importlib.import_module("pyarrow.compute")
    names = table.column_names
    tests: dict[int, Callable[[str], bool]] | None = None
    for place, name in enumerate(names):
        column = table.column(name)
        both = compute.and_(
            compute.match_substring_regex(column, "[\r\n]"), compute.match_substring(column, delimiter)
        )
        for row in compute.indices_nonzero(compute.fill_null(both, False)).to_pylist():
            value = column[row].as_py()
            tests = _tests(table) if tests is None else tests
            before = [table.column(other)[row].as_py() for other in names[:place]]
            after = [table.column(other)[row].as_py() for other in names[place + 1 :]]
            if delimiter == "\t" or _is_rows(value, before, after, delimiter, tests):
                yield row, value


def holds_labelled_lines(text: str, labels: Collection[str]) -> bool:
    """Say whether a line inside a text begins or ends with a label and a delimiter, as a file's row does."""
    lines = LINE_END.split(text)
    if len(lines) == 1:
        return False
    return any(_end(line, -1) in labels for line in lines[:-1]) or any(
        _end(line, 0) in labels for line in lines[1:]
    )


def _end(line: str, position: int) -> str | None:
    parts = ANY_DELIMITER.split(line)
    return parts[position].strip(' "') if len(parts) > 1 else None


def _tests(table: pa.Table) -> dict[int, Callable[[str], bool]]:
    """Return what a value of each column is like, by its place, where that says anything."""
    found: dict[int, Callable[[str], bool]] = {}
    for place, name in enumerate(table.column_names):
        values = set(table.column(name).unique().to_pylist())
        if 2 * len(values) <= len(table):
            found[place] = values.__contains__
        elif all(map(_is_number, values)):
            found[place] = _is_number
    return found


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _is_rows(
    value: str,
    before: Sequence[str],
    after: Sequence[str],
    delimiter: str,
    tests: dict[int, Callable[[str], bool]],
) -> bool:
    lines = LINE_END.split(value)
    rows = [next(csv.reader([line], delimiter=delimiter), []) for line in lines]
    rows[0], rows[-1] = [*before, *rows[0]], [*rows[-1], *after]
    num_fields = len(before) + 1 + len(after)
    return bool(tests) and all(
        len(row) == num_fields and all(test(row[place].strip(' "')) for place, test in tests.items())
        for row in rows
    )
