"""Entries of `data.metrics` that name a function of the user's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from finesweep.config.origin import UNRESOLVED, Origin
from finesweep.errors import Fault, nearest
from finesweep.metrics.own import EVALUATE, SETTINGS, name_of
from finesweep.metrics.registry import LOSS, METRICS
from finesweep.system.signatures import TargetError, signature_of

CHOICES = {"direction": ("maximize", "minimize"), "reads": ("predicted", "probabilities")}
GIVEN = 2  # predictions and references, whatever the function calls them


def own_metric_faults(config: dict[str, Any], origin: Origin) -> Iterator[Fault]:
    """Find what is wrong with them, before anything is computed."""
    for i, entry in enumerate(metric_entries(config)):
        if isinstance(entry, dict):
            key = f"data.metrics[{i}]"
            for fault in _faults(key, entry):
                yield Fault(fault.where, fault.rule, fault.value, origin.of("data.metrics"), fault.valid)


def metric_entries(config: dict[str, Any]) -> list[Any]:
    """Return the entries of `data.metrics`; none where it is no list."""
    data = config.get("data")
    chosen = data.get("metrics") if isinstance(data, dict) else None
    return chosen if isinstance(chosen, list) else []


def _faults(key: str, entry: dict[str, Any]) -> Iterator[Fault]:
    target = entry.get("_target_")
    if target is UNRESOLVED or any(value is UNRESOLVED for value in entry.values()):
        return
    if not target:
        yield Fault(f"{key}._target_", "A metric of your own names its function.", entry)
        return
    if name_of(entry) in (*METRICS, LOSS):
        yield Fault(f"{key}.name", "finesweep has a metric of this name: give it another.", name_of(entry))
    for setting, valid in CHOICES.items():
        if entry.get(setting, valid[0]) not in valid:
            yield Fault(f"{key}.{setting}", "It must be one of the names below.", entry[setting], valid=valid)
    if target == EVALUATE:
        yield from _module_faults(key, entry.get("path"))
    else:
        yield from call_faults(key, entry, SETTINGS)


def _module_faults(key: str, path: Any) -> Iterator[Fault]:
    """A name without a folder is one of the hub's, which is asked when the module is loaded."""
    fix = "path: /folder/of/mine, with mine.py in it; or a name of the hub's: path: accuracy"
    if not isinstance(path, str) or not path:
        yield Fault(f"{key}.path", "evaluate.load needs it.", path, fix=fix)
        return
    place = Path(path).expanduser()
    script = place if place.suffix == ".py" else place / f"{place.name}.py"
    if (
        place.is_absolute() or place.suffix or place.exists() or path.startswith(".")
    ) and not script.is_file():
        yield Fault(f"{key}.path", f"There is no metric script {script}.", path, fix=fix)


def call_faults(
    key: str, entry: dict[str, Any], settings: Sequence[str], given: int = GIVEN
) -> Iterator[Fault]:
    """Find what is wrong with a node whose function gets the rest of its arguments later.

    Args:
        key: of the node.
        entry: the node.
        settings: its keys that are no arguments; the first is `_target_`.
        given: how many arguments, the first ones, come later.
    """
    target = str(entry["_target_"])
    try:
        signature = signature_of(target)
    except TargetError as error:
        yield Fault(f"{key}._target_", str(error), target)
        return
    own = tuple(signature.parameters)[given:]
    for name, value in entry.items():
        if name not in (*settings, *own) and not signature.open:
            rule = f"{target} has no argument `{name}`. {nearest(name, own)}".strip()
            yield Fault(f"{key}.{name}", rule, value, valid=(*own, *settings[1:]))
