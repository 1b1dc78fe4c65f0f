"""Texts for a terminal: on one line, and what it would obey shown; names and values may be a stranger's."""

from __future__ import annotations

import re

# C0 but for tab and newline, DEL, C1, and what turns the direction of writing.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """Write control characters as Python spells them; lines stay lines."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def shortened(text: str, most: int) -> str:
    """Return a text on one line, cut with dots to `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 3] + "..."
