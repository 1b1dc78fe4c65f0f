"""What a terminal would obey is shown instead: names, values and files may be a stranger's."""

from __future__ import annotations

import re

# C0 but for tab and newline, DEL, C1, and what turns the direction of writing.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """Write control characters as Python spells them; lines stay lines."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
