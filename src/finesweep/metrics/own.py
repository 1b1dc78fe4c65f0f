"""Metrics of the user's own: functions of predictions and truth that a config names by `_target_`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from finesweep.system.foreign import calling
from finesweep.system.signatures import locate

Direction = Literal["maximize", "minimize"]
# What an entry says beside the function's own arguments.
SETTINGS = ("_target_", "name", "direction", "reads")


@dataclass(frozen=True)
class OwnMetric:
    """One function, in the place of a module of finesweep's.

    Args:
        name: of the metric.
        function: is called with predictions and references, one for each row, and returns one number.
        direction: which way is better.
        READS: which part of `Scored` its predictions are.
    """

    name: str
    function: Callable[..., Any]
    direction: Direction
    READS: Literal["predicted", "probabilities"]

    def values(self, predictions: Any, references: Any, label_names: Any) -> dict[str, float]:
        """Compute it."""
        with calling("data.metrics", self.name):
            return {self.name: float(self.function(predictions, references))}


# Those of the config that this process works on now.
OWN: dict[str, OwnMetric] = {}


def name_of(entry: Any) -> str:
    """Return the name of an entry of `data.metrics`: its own, or that of its function."""
    if not hasattr(entry, "get"):
        return str(entry)
    return str(entry.get("name") or str(entry.get("_target_")).rpartition(".")[2])


def use_own(entries: Sequence[Any]) -> list[str]:
    """Make a config's own metrics those that can be computed by name, and return the names of all entries.

    Args:
        entries: of `data.metrics`: names, and nodes that have been checked.
    """
    own = [_own(entry) for entry in entries if isinstance(entry, dict)]
    OWN.clear()
    OWN.update({metric.name: metric for metric in own})
    return [name_of(entry) for entry in entries]


def _own(entry: dict[str, Any]) -> OwnMetric:
    arguments = {key: value for key, value in entry.items() if key not in SETTINGS}
    function = functools.partial(locate(str(entry["_target_"])), **arguments)
    reads = entry.get("reads", "predicted")
    return OwnMetric(name_of(entry), function, entry.get("direction", "maximize"), reads)
