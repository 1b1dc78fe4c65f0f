"""What finesweep needs of OmegaConf that OmegaConf doesn't offer; tests/test_library_insides.py tests it."""

from __future__ import annotations

from typing import Any

import yaml
from omegaconf import Node
from omegaconf._utils import get_omega_conf_dumper

NEXT_LINE = "\x85"
OwnDumper: Any = get_omega_conf_dumper()


def full_key(node: Node | Any) -> str:
    """Return where a node stands in its config, dotted.

    Read from omegaconf 2.3.1, base.py. A resolver is given its node, which tells it in no other way.
    """
    return str(node._get_full_key(None))


class Dumper(OwnDumper):
    """OmegaConf's writer of YAML, which writes a text with a next-line sign (U+0085) as an escape.

    Read from omegaconf 2.3.1, _utils.py. PyYAML 6.0 writes that sign as it is, and reads a space.
    """


def _text(writer: Any, value: str) -> yaml.ScalarNode:
    if NEXT_LINE in value:
        return writer.represent_scalar("tag:yaml.org,2002:str", value, style='"')
    return OwnDumper.str_representer(writer, value)


Dumper.add_representer(str, _text)
