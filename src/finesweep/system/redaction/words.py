"""Secrets in the words of a command line, which are read as Hydra reads them."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, Quote, QuotedString, Sweep, Transformer
from hydra.errors import HydraException

from finesweep.system.override_words import parts_of, read_word
from finesweep.system.redaction.known import environment_secrets, mask_known
from finesweep.system.redaction.names import is_secret_name, last_part
from finesweep.system.redaction.patterns import MASK, mask_value
from finesweep.system.redaction.trees import masked, secrets_in


def masked_words(words: Sequence[str]) -> list[str]:
    """Return the words of a command line with their secrets masked; the others as they were typed."""
    parsed = _parsed(words)
    hidden = masked([_nested(key, value) for key, value in parsed])
    return [
        word if key and after == _nested(key, value) else _written(word, key, after)
        for word, (key, value), after in zip(words, parsed, hidden, strict=True)
    ]


def masked_command(words: Sequence[str]) -> str:
    """Return a command as one types it in a shell, its secrets masked."""
    return " ".join(word if word.endswith(f"={MASK}") else shlex.quote(word) for word in masked_words(words))


def typed_secrets(words: Sequence[str]) -> frozenset[str]:
    """Return the values that the words of a command line give to secrets' keys."""
    named = [word for word in words if "=" in word and not word.startswith("-")]
    parsed = _parsed(named)
    unread = [parts_of(word) for word, (key, _) in zip(named, parsed, strict=True) if not key]
    typed = {value.strip("'\"") for key, value in unread if is_secret_name(last_part(key))}
    return secrets_in([_nested(key, value) for key, value in parsed]) | typed


def _parsed(words: Sequence[str]) -> list[tuple[str, Any]]:
    """Return each word's key and value; no key where it can't be read."""
    return [_parsed_word(word) for word in words]


@functools.lru_cache(maxsize=256)
def _parsed_word(word: str) -> tuple[str, Any]:
    """Parse a word once for all of a sweep's trials, whose command lines differ in few."""
    try:
        override = read_word(word)
        return override.key_or_group, _plain(override.value())
    except (HydraException, ValueError):
        return "", None


def _nested(key: str, value: Any) -> dict[str, Any]:
    """Return a value in the mappings that its dotted key names."""
    first, _, rest = key.partition(".")
    return {first: _nested(rest, value) if rest else value}


def _plain(value: Any) -> Any:
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, Sweep):  # a range has no secrets
        return _plain(value.list) if isinstance(value, ChoiceSweep) else None
    if isinstance(value, dict):
        return {str(_plain(name)): _plain(child) for name, child in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _written(word: str, key: str, tree: Any) -> str:
    """Write a word with a masked value; one that can't be read is masked as the text that it is."""
    head, is_assigned, _ = word.partition("=")
    if key:
        for name in key.split("."):
            tree = tree[name]
        return f"{head}={Transformer.str(_quoted(tree))}"
    if is_assigned and is_secret_name(last_part(head)):
        return f"{head}={MASK}"
    return mask_value(mask_known(word, environment_secrets()))


def _quoted(value: Any) -> Any:
    """Put texts that aren't plain words into quotes, as the override grammar wants them."""
    if isinstance(value, str):
        is_plain = value == MASK or value.replace("_", "").replace("-", "").isalnum()
        return value if is_plain else QuotedString(text=value, quote=Quote.single)
    if isinstance(value, dict):
        return {name: _quoted(child) for name, child in value.items()}
    return [_quoted(item) for item in value] if isinstance(value, list) else value
