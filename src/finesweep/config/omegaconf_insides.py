"""What finesweep needs of OmegaConf that OmegaConf doesn't offer; tests/test_library_insides.py tests it."""

from __future__ import annotations

from typing import Any

from omegaconf import Node


def full_key(node: Node | Any) -> str:
    """Return where a node stands in its config, dotted.

    Read from omegaconf 2.3.1, base.py. A resolver is given its node, which tells it in no other way.
    """
    return str(node._get_full_key(None))
