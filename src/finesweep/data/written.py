"""Labels that are written as texts and mean something else: numbers, and lists."""

from __future__ import annotations

import ast
import re
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

from finesweep.data.labels import is_missing

# 3,5 · 1.234,56 · 1,234.56 · 12 % · $3.50 · 3 € · (1.50): numbers to people, texts to a reader of files
AMOUNT = r"(\d{1,3}([.,'_ ]\d{3})+|\d+)([.,]\d+)?([eE][-+]?\d+)?"
SIGNED = rf"[-+\u2212]?\s*[$€£¥]?\s*{AMOUNT}\s*[%‰$€£¥]?"
NUMBER = re.compile(rf"{SIGNED}|\({SIGNED}\)")
DECIMAL_COMMA = re.compile(r"[-+]?(\d{1,3}(\.\d{3})+|\d+)(,\d+)?")
NEIGHBOURS = re.compile(r"""(?<!\\)(['"])\s+['"]""")
EXAMPLES = 3
DECIMAL_FIX = (
    "If they are amounts: data.source.decimal=comma (of csv and tsv) reads 1,5 as one and a half. "
    "If they are several labels: data.label_delimiter=comma. "
    "If they are names of classes: data.task=single-label."
)
PLAIN_FIX = (
    "If they are amounts, write plain numbers (1234.5, 0.12) and set data.task=regression. "
    "If they are names of classes: data.task=single-label."
)


class Doubt(NamedTuple):
    """Why texts may not be what they seem, and what to do.

    Args:
        rule: a sentence with the first of them.
        fix: what to set or write.
    """

    rule: str
    fix: str


def written_numbers(values: Sequence[str]) -> Doubt | None:
    """Find texts of which each is a number as people write it, and at least one is none to a reader of files.

    Args:
        values: texts that aren't missing.
    """
    if not values or not all(NUMBER.fullmatch(_compatible(value)) for value in values):
        return None
    odd = [value for value in dict.fromkeys(values) if not _is_plain(value)]
    if not odd:
        return None
    shown = ", ".join(f"`{value}`" for value in odd[:EXAMPLES])
    has_commas = all(DECIMAL_COMMA.fullmatch(value.strip()) for value in values)
    return Doubt(f"These texts look like numbers: {shown}.", DECIMAL_FIX if has_commas else PLAIN_FIX)


def read_lists(values: Sequence[Any]) -> list[Any] | None:
    """Read texts such as `['a', 'b']` as the lists that they are; None where they don't look like lists.

    Args:
        values: a column; missing ones stay.

    Raises:
        ValueError: all of them look like lists, and one can't be read; it is the error's text.
    """
    present = [value for value in values if not is_missing(value)]
    if not present or not all(isinstance(value, str) and _looks_like_list(value) for value in present):
        return None
    return [None if is_missing(value) else _list(value) for value in values]


def _looks_like_list(value: str) -> bool:
    text = value.strip()
    return text.startswith("[") and text.endswith("]")


def _list(text: str) -> list[Any]:
    if NEIGHBOURS.search(text):  # as NumPy prints lists; Python would read 'a' 'b' as one text
        raise ValueError(text)
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise ValueError(text) from None
    is_list = isinstance(value, list) and all(isinstance(item, str | int) for item in value)
    if not is_list or len({type(item) for item in value}) > 1:
        raise ValueError(text)
    return value


def joined_names(names: Sequence[str]) -> str:
    """Say that names look like several in one text, as `a`, `a;b` and `b;c` do; nothing where they don't.

    That is where there are fewer parts than names: of `Leeds, UK` and `York, UK` there are more.
    """
    for delimiter, called in ((";", "semicolon"), ("|", "bar"), (",", "comma")):
        joined = [f"`{name}`" for name in names if delimiter in name]
        parts = {part.strip() for name in names for part in name.split(delimiter)}
        if joined and len(parts) < len(names):
            shown = ", ".join(joined[:EXAMPLES])
            fix = f"data.label_delimiter={called} reads them as several"
            return f"labels look like several in one text, joined by `{delimiter}`: {shown}; {fix}"
    return ""


def _compatible(value: str) -> str:
    """Return a text with the plain forms of its signs: wide digits, unbreakable spaces."""
    return unicodedata.normalize("NFKC", value).strip()


def _is_plain(value: str) -> bool:
    return re.fullmatch(r"[-+]?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?", value) is not None
