"""What finesweep needs of OmegaConf that OmegaConf doesn't offer; tests/test_library_insides.py tests it."""

from __future__ import annotations

import functools
import threading
from typing import Any

import yaml
from omegaconf import Container, Node
from omegaconf._utils import get_omega_conf_dumper
from omegaconf.errors import InterpolationResolutionError

NEXT_LINE = "\x85"
ENDLESS = "its interpolations repeat each other without end, or nearly so"
MOST_STEPS, MOST_TEXT = 1_000, 1_000_000  # of one value: interpolations, and their characters
OwnDumper: Any = get_omega_conf_dumper()


def full_key(node: Node | Any) -> str:
    """Return where a node stands in its config, dotted.

    Read from omegaconf 2.3.1, base.py. A resolver is given its node, which tells it in no other way.
    """
    return str(node._get_full_key(None))


class EndlessInterpolation(InterpolationResolutionError):
    """A value's interpolations lead to ever more of them, as `a: ${b}${b}`, `b: ${c}${c}` and so on do."""


class _Spent(threading.local):
    depth = steps = text = 0


def bound_interpolations() -> None:
    """Let OmegaConf refuse a value that takes too many interpolations; calling it again changes nothing.

    Read from omegaconf 2.3.1, base.py: each interpolation, and what it stands on, is resolved by this method.
    OmegaConf remembers nothing that it has resolved, and has no bound of its own.
    """
    original: Any = Container.resolve_parse_tree
    if hasattr(original, "__wrapped__"):
        return
    spent = _Spent()

    @functools.wraps(original)
    def resolve_parse_tree(self: Container, *arguments: Any, **named: Any) -> Any:
        if not spent.depth:
            spent.steps = spent.text = 0
        spent.depth += 1
        spent.steps += 1
        try:
            _check_spent(spent)
            found = original(self, *arguments, **named)
            spent.text += len(found) if isinstance(found, str) else 0
            _check_spent(spent)
            return found
        finally:
            spent.depth -= 1

    Container.resolve_parse_tree = resolve_parse_tree  # type: ignore[method-assign]


def _check_spent(spent: _Spent) -> None:
    if spent.steps > MOST_STEPS or spent.text > MOST_TEXT:
        raise EndlessInterpolation(ENDLESS)


class Dumper(OwnDumper):
    """OmegaConf's writer of YAML, which writes a text with a next-line sign (U+0085) as an escape.

    Read from omegaconf 2.3.1, _utils.py. PyYAML 6.0 writes that sign as it is, and reads a space.
    """


def _text(writer: Any, value: str) -> yaml.ScalarNode:
    if NEXT_LINE in value:
        return writer.represent_scalar("tag:yaml.org,2002:str", value, style='"')
    return OwnDumper.str_representer(writer, value)


Dumper.add_representer(str, _text)
