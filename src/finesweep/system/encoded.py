"""Names that the locale has no letters for, said in words."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from finesweep.errors import ConfigError, Fault
from finesweep.system.terminal import typed_text


def check_encoded(words: Iterable[str]) -> None:
    """Refuse words of a command line that Python took for ASCII, whose letters nothing can be made of.

    Raises:
        ConfigError: naming the first.
    """
    for word in words:
        if typed_text(word) != word:
            raise ConfigError(beyond_ascii(typed_text(word)))


def beyond_ascii(where: str) -> Fault:
    """Return what to say of a name that the locale has no letters for."""
    rule = f"Python takes names for {sys.getfilesystemencoding()} here, and this one has other letters."
    return Fault(where, rule, fix="export PYTHONUTF8=1")
