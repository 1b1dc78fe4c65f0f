"""Secrets in plain values, such as a config: masked by key and by value, before they become text."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from finesweep.system.redaction.known import environment_secrets, is_path, mask_known
from finesweep.system.redaction.names import (
    counts,
    describes,
    is_secret_name,
    last_part,
    may_be_secret_name,
    word_set,
)
from finesweep.system.redaction.patterns import LEAST_NUMBER, MASK, is_reference, looks_random, mask_value

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
