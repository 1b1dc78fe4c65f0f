"""Texts for a terminal: on one line, and what it would obey shown; names and values may be a stranger's."""

from __future__ import annotations

import io
import re
import sys

# C0 but for tab and newline, DEL, C1, and what turns the direction of writing.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def speak_any_locale() -> None:
    """Let what a terminal's encoding lacks be printed as Python spells it, instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):
            continue
        # In the locale C Python writes bytes that it couldn't read as they came, and still no umlaut.
        keeps_bytes = stream.errors == "surrogateescape" and stream.encoding.lower() != "utf-8"
        if stream.errors == "strict" or keeps_bytes:
            stream.reconfigure(errors="backslashreplace")


def typed_text(text: str) -> str:
    """Return a text of the command line as it was typed, where Python took its UTF-8 for ASCII."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def visible(text: str) -> str:
    """Write control characters as Python spells them; lines stay lines."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def shortened(text: str, most: int) -> str:
    """Return a text on one line, cut with dots to `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 3] + "..."
