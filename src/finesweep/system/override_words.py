"""The words of a command line: what Hydra reads in them, and what they are as texts."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString


def read_word(word: str) -> Override:
    """Read a word as Hydra does.

    Raises:
        HydraException: it is no override.
    """
    return _parser().parse_override(word)


def read_words(words: Iterable[str]) -> list[Override]:
    """Read several words; see `read_word`."""
    return _parser().parse_overrides(list(words))


def parts_of(word: str) -> tuple[str, str]:
    """Return a word's key, without Hydra's `+` and `~`, and its value as it was typed.

    It asks for no grammar: what Hydra can't read, and options, have a key too.
    """
    key, _, value = word.lstrip("+~").partition("=")
    return key, value


def key_of(word: str) -> str:
    """Return the key of a word; see `parts_of`."""
    return parts_of(word)[0]


def quoted(text: object) -> str:
    """Return a text as the override grammar reads it back, whatever is in it: a folder's name, say."""
    return QuotedString(text=str(text), quote=Quote.single).with_quotes()


@cache
def _parser() -> OverridesParser:
    return OverridesParser.create()
