"""What is written differently and is the same: case, white space, and signs that can't be seen."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Any

# Soft hyphens, joiners, marks of direction, variation selectors, byte-order marks.
INVISIBLE = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]")
WHOLE_NUMBER = re.compile(r"([+-]?)0*(\d+)(?:\.0*)?")


def normalized(content: str) -> str:
    """Return a text without differences of case, white space and invisible signs."""
    if not content.isascii():
        content = INVISIBLE.sub("", unicodedata.normalize("NFC", content))
    return " ".join(content.casefold().split())


def shown(name: str) -> str:
    """Return a name as it is, or quoted where it holds what can't be seen."""
    text = quoted(name)
    return name if text == f'"{name}"' and name == " ".join(name.split()) else text


def quoted(name: str) -> str:
    """Return a name in quotes, with escapes for what can't be seen, so that a difference shows."""
    signs = (
        sign if sign.isprintable() and not unicodedata.combining(sign) else _escape(sign) for sign in name
    )
    return f'"{"".join(signs)}"'


def spelled_alike(names: Iterable[str]) -> list[list[str]]:
    """Return the groups of names that differ in case, white space or invisible signs alone."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(normalized(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _escape(sign: str) -> str:
    return sign.encode("unicode_escape").decode()


def normalized_name(value: Any) -> str:
    """Return the name of a group without differences of spelling: 7, 7.0, "7" and "007" are one.

    A case that a file has kept and another hasn't makes no group of its own either.
    """
    text = normalized(str(value))
    number = WHOLE_NUMBER.fullmatch(text)
    return number[1].replace("+", "") + number[2] if number else text
