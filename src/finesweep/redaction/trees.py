"""Secrets in plain values, such as a config: masked by key and by value, before they become text."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from finesweep.redaction.known import environment_secrets, is_path, mask_known
from finesweep.redaction.names import (
    counts,
    describes,
    is_secret_name,
    last_part,
    may_be_secret_name,
    word_set,
)
from finesweep.redaction.patterns import LEAST_NUMBER, MASK, is_reference, looks_random, mask_value

# Mappings whose keys are the user's own columns and labels: one called `password` is no secret.
OWN_KEYS = word_set("""
    types dtype dtypes schema schema_overrides columns features rename converters class_weights label_map
    label2id id2label splits
""")
# What a switch for authentication may say.
NO_SECRETS = word_set("none null nil true false yes no auto default basic bearer")


def masked(tree: Any, key: str = "") -> Any:
    """Return plain values with their secrets masked, and everything else as it is.

    A text or a number under a secret's key is masked whole, unless it is an interpolation, which says where
    the secret is. Elsewhere a text loses the parts that are secrets.

    Args:
        tree: dicts, lists and scalars.
        key: under which they stand.
    """
    return _masked(tree, key, environment_secrets() | secrets_in(tree, key))


def secrets_in(tree: Any, key: str = "") -> frozenset[str]:
    """Return the values that stand under secrets' keys."""
    return frozenset(_secrets(tree, is_secret_name(last_part(key))))


def shown(key: str, value: Any) -> Any:
    """Return a value as a message may show it under its key."""
    return masked(value, key) if isinstance(value, dict | list | str | int | float) else value


def masked_words(words: Sequence[str]) -> list[str]:
    """Return the words of a command line with their secrets masked; the others as they were typed."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser = OverridesParser.create()
    parsed = [_parsed(parser, word) for word in words]
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
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser = OverridesParser.create()
    named = [word for word in words if "=" in word and not word.startswith("-")]
    unread = [word for word in named if not _parsed(parser, word)[0]]
    return secrets_in([_nested(*_parsed(parser, word)) for word in named]) | {
        word.partition("=")[2].strip("'\"")
        for word in unread
        if is_secret_name(last_part(word.partition("=")[0]))
    }


def masked_keys(tree: Any, key: str = "") -> Iterator[str]:
    """Name the dotted keys of the values that were masked, wholly or in part."""
    if isinstance(tree, dict):
        for name, child in tree.items():
            yield from masked_keys(child, f"{key}.{name}" if key else str(name))
    elif isinstance(tree, list):
        for i, child in enumerate(tree):
            yield from masked_keys(child, f"{key}[{i}]")
    elif isinstance(tree, str) and MASK in tree:
        yield key


def _masked(node: Any, key: str, secrets: Collection[str], *, is_secret: bool | None = None) -> Any:
    is_secret = is_secret_name(last_part(key)) if is_secret is None else is_secret
    if isinstance(node, dict):
        return {
            name: _masked(child, str(name), secrets, is_secret=_is_secret_child(key, str(name), is_secret))
            for name, child in node.items()
        }
    if isinstance(node, list | tuple):
        return [_masked(child, key, secrets, is_secret=is_secret) for child in node]
    if is_secret and _is_value(node, key):
        return MASK
    if not isinstance(node, str) or not node:
        return node
    if may_be_secret_name(last_part(key)) and looks_random(node) and not is_reference(node):
        return MASK
    if node in secrets and not node.isalnum():
        return MASK
    return mask_value(mask_known(node, secrets))


def _secrets(node: Any, is_secret: bool, key: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        for name, child in node.items():
            yield from _secrets(child, _is_secret_child(key, str(name), is_secret), str(name))
    elif isinstance(node, list | tuple):
        for child in node:
            yield from _secrets(child, is_secret, key)
    elif is_secret and isinstance(node, str) and _is_value(node, key):
        yield node


def _is_secret_child(parent: str, name: str, is_secret: bool) -> bool:
    if parent in OWN_KEYS or name.startswith("_") or describes(name):
        return False
    return is_secret or is_secret_name(name)


def _is_value(node: Any, key: str) -> bool:
    """Say whether what stands under a secret's key is one: no interpolation, path, switch or count."""
    if isinstance(node, bool) or not isinstance(node, int | float | str):
        return False
    if not isinstance(node, str):
        return abs(node) >= LEAST_NUMBER or not counts(last_part(key))
    is_word_for_none = node.strip().lower() in NO_SECRETS
    return bool(node) and not is_word_for_none and not is_reference(node) and not is_path(node)


def _parsed(parser: Any, word: str) -> tuple[str, Any]:
    """Return an override's key and value; no key where it can't be read."""
    from hydra.core.override_parser.types import ChoiceSweep, Sweep
    from hydra.errors import HydraException

    try:
        override = parser.parse_override(word)
        value = override.value()
    except (HydraException, ValueError):
        return "", None
    if isinstance(value, ChoiceSweep):
        return override.key_or_group, [_plain(item) for item in value.list]
    return override.key_or_group, None if isinstance(value, Sweep) else _plain(value)


def _nested(key: str, value: Any) -> dict[str, Any]:
    """Return a value in the mappings that its dotted key names."""
    first, _, rest = key.partition(".")
    return {first: _nested(rest, value) if rest else value}


def _plain(value: Any) -> Any:
    from hydra.core.override_parser.types import QuotedString

    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, dict):
        return {str(_plain(name)): _plain(child) for name, child in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _written(word: str, key: str, tree: Any) -> str:
    """Write a word with a masked value; one that can't be read is masked as the text that it is."""
    from hydra.core.override_parser.types import Override

    head, is_assigned, _ = word.partition("=")
    if key:
        for name in key.split("."):
            tree = tree[name]
        return f"{head}={Override._get_value_element_as_str(_quoted(tree))}"
    if is_assigned and is_secret_name(last_part(head)):
        return f"{head}={MASK}"
    return mask_value(mask_known(word, environment_secrets()))


def _quoted(value: Any) -> Any:
    """Put texts that aren't plain words into quotes, as the override grammar wants them."""
    from hydra.core.override_parser.types import Quote, QuotedString

    if isinstance(value, str):
        is_plain = value == MASK or value.replace("_", "").replace("-", "").isalnum()
        return value if is_plain else QuotedString(text=value, quote=Quote.single)
    if isinstance(value, dict):
        return {name: _quoted(child) for name, child in value.items()}
    return [_quoted(item) for item in value] if isinstance(value, list) else value
