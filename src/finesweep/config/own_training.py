"""`trainer.loss` and `monitors`: code of the user's own that takes part in training."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from finesweep.config.origin import UNRESOLVED, Origin
from finesweep.config.own_metrics import call_faults
from finesweep.errors import Fault
from finesweep.system.signatures import TargetError, locate

LOSS, MONITORS = "trainer.loss", "monitors"
GIVEN = 2  # logits and labels, whatever a function calls them


def own_training_faults(config: dict[str, Any], origin: Origin) -> Iterator[Fault]:
    """Find what is wrong with them, before anything is loaded."""
    for fault in (*_loss_faults(config), *_monitor_faults(config)):
        yield Fault(fault.where, fault.rule, fault.value, origin.of(fault.where), fault.valid, fault.fix)


def _loss_faults(config: dict[str, Any]) -> Iterator[Fault]:
    trainer = config.get("trainer")
    node = trainer.get("loss") if isinstance(trainer, dict) else None
    if node in (None, UNRESOLVED):
        return
    if not isinstance(node, dict) or not node.get("_target_"):
        fix = "trainer.loss={_target_: mine.focal, gamma: 2}"
        yield Fault(LOSS, "A loss of your own names its function or its class.", node, fix=fix)
    elif all(value is not UNRESOLVED for value in node.values()):
        yield from call_faults(LOSS, node, ("_target_",), given=0 if _is_class(node["_target_"]) else GIVEN)


def _is_class(target: Any) -> bool:
    try:
        return inspect.isclass(locate(str(target)))
    except TargetError:  # which has a fault of its own
        return False


def _monitor_faults(config: dict[str, Any]) -> Iterator[Fault]:
    given = config.get(MONITORS)
    entries = given if isinstance(given, list) else [given]
    for entry in () if given in (None, UNRESOLVED) else entries:
        if entry is not UNRESOLVED and not (isinstance(entry, dict) and entry.get("_target_")):
            fix = "monitors=[{_target_: mine.Watch}]"
            yield Fault(MONITORS, "It is a list of classes of your own, by _target_.", entry, fix=fix)
            return
    if isinstance(given, dict):
        fix = "Put it into brackets: monitors=[{_target_: ...}]"
        yield Fault(MONITORS, "It is a list.", given, fix=fix)
