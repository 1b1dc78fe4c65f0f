"""Metrics of the user's own: functions of predictions and truth that a config names by `_target_`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from finesweep.errors import ConfigError, Fault
from finesweep.system.foreign import calling
from finesweep.system.signatures import locate

Direction = Literal["maximize", "minimize"]
# What an entry says beside the function's own arguments.
SETTINGS = ("_target_", "name", "direction", "reads")
# The one target that gives no number itself, but a module of `evaluate`'s that does.
EVALUATE = "evaluate.load"
# What it is loaded with; the rest is for each computation.
LOADED_WITH = ("path", "config_name", "module_type", "revision", "cache_dir", "experiment_id")


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


class EvaluateModule:
    """A metric module of `evaluate`, local or of the hub: it is loaded when it is first needed.

    Args:
        name: of the metric, and of the number among its results, where it has several.
        arguments: of `evaluate.load`, and of the module's `compute`.
    """

    def __init__(self, name: str, arguments: dict[str, Any]) -> None:
        self._name = name
        self._loaded_with = {key: arguments[key] for key in LOADED_WITH if key in arguments}
        self._settings = {key: value for key, value in arguments.items() if key not in LOADED_WITH}

    @functools.cached_property
    def _module(self) -> Any:
        try:
            return locate(EVALUATE)(**self._loaded_with, keep_in_memory=True)
        except (OSError, ImportError) as error:
            first = str(error).strip().partition("\n")[0]
            rule = f"evaluate can't load this module: {first}"
            fix = "A local one is a folder with a script of its name: path: /my/cost, with cost.py in it."
            raise ConfigError(Fault("data.metrics", rule, self._loaded_with["path"], fix=fix)) from error

    def __call__(self, predictions: Any, references: Any) -> float:
        """Compute it, and return the one number that counts.

        Raises:
            ConfigError: the module can't be loaded, or which of its numbers counts isn't known.
        """
        results = self._module.compute(predictions=predictions, references=references, **self._settings)
        name = self._name if self._name in results or len(results) != 1 else next(iter(results))
        if name not in results:
            rule = "The module gives several numbers: the entry's name says which counts."
            raise ConfigError(Fault("data.metrics", rule, self._name, valid=tuple(results)))
        return float(results[name])


# Those of the config that this process works on now.
OWN: dict[str, OwnMetric] = {}


def name_of(entry: Any) -> str:
    """Return the name of an entry of `data.metrics`: its own, or that of its function or module."""
    if not hasattr(entry, "get"):
        return str(entry)
    if entry.get("_target_") == EVALUATE:
        return str(entry.get("name") or Path(str(entry.get("path"))).stem)
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
    name, reads = name_of(entry), entry.get("reads", "predicted")
    function: Callable[..., Any] = (
        EvaluateModule(name, arguments)
        if entry["_target_"] == EVALUATE
        else functools.partial(locate(str(entry["_target_"])), **arguments)
    )
    return OwnMetric(name, function, entry.get("direction", "maximize"), reads)
