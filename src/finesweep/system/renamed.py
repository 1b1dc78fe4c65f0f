"""Names that saved configs may still have for what has moved since."""

from __future__ import annotations

from typing import Any

TARGETS = {
    "finesweep.adalora.adalora_config": "finesweep.models.adalora_config",
    "finesweep.adapters.BitFit": "finesweep.models.BitFit",
    "finesweep.adapters.FullFineTuning": "finesweep.models.FullFineTuning",
    "finesweep.adapters.HeadOnly": "finesweep.models.HeadOnly",
}


def target_now(name: str) -> str:
    """Return what a `_target_` is called now."""
    return TARGETS.get(name, name)


def renamed(node: Any) -> Any:
    """Return a saved config's values with the targets that are called something else now."""
    if isinstance(node, dict):
        return {
            key: target_now(value) if key == "_target_" and isinstance(value, str) else renamed(value)
            for key, value in node.items()
        }
    return [renamed(value) for value in node] if isinstance(node, list) else node
