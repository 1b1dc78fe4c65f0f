"""What is written differently and is the same: case, white space, and signs that can't be seen."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

# Soft hyphens, joiners, marks of direction, variation selectors, byte-order marks.
INVISIBLE = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]")
WHOLE_NUMBER = re.compile(r"([+-]?)0*(\d+)(?:\.0*)?")


def normalized(content: str) -> str:
    """Return a text without differences of case, white space and invisible signs."""
    if not content.isascii():
        content = INVISIBLE.sub("", unicodedata.normalize("NFC", content))
    return " ".join(content.casefold().split())


def normalized_name(value: Any) -> str:
    """Return the name of a group without differences of spelling: 7, 7.0, "7" and "007" are one.

    A case that a file has kept and another hasn't makes no group of its own either.
    """
    text = normalized(str(value))
    number = WHOLE_NUMBER.fullmatch(text)
    return number[1].replace("+", "") + number[2] if number else text
