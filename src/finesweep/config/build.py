"""From a checked config to the objects that it names."""

from __future__ import annotations

import functools
from typing import Any

from omegaconf import OmegaConf

from finesweep.config.hydra_versions import register_resolver
from finesweep.config.trust import check_trusted
from finesweep.system import machine
from finesweep.system.foreign import calling
from finesweep.system.places import config_folder
from finesweep.system.signatures import locate


def build(node: dict[str, Any], **runtime: Any) -> Any:
    """Instantiate a node's `_target_`; what is only known at run time goes to its `_partial_`."""
    target = instantiate(node)
    if not node.get("_partial_"):
        return target
    with calling("_target_", node["_target_"]):
        return target(**runtime)


def register_resolvers() -> None:
    """Make finesweep's interpolations known to OmegaConf; calling it again changes nothing."""
    if not OmegaConf.has_resolver("finesweep.cores"):
        register_resolver("finesweep.cores", machine.usable_cores)
        register_resolver("finesweep.workers", machine.default_workers)
        register_resolver("finesweep.product", _product)
        register_resolver("finesweep.configs", lambda: f"file://{config_folder()}")


def _product(left: float, right: float) -> float:
    """Multiply numbers; of texts and lists a product could be as large as the memory.

    Raises:
        ValueError: one of them is no number.
    """
    if not (isinstance(left, int | float) and isinstance(right, int | float)):
        raise ValueError(f"{left!r} and {right!r} aren't two numbers")
    return left * right


KEYWORDS = ("_target_", "_args_", "_partial_", "_recursive_", "_convert_")


def instantiate(node: Any) -> Any:
    """Call a node's target, inner nodes first.

    The values are taken as they are: a text that looks like an interpolation stays a text, so that what was
    checked is what is called.

    Args:
        node: plain values. `_partial_` binds the arguments without calling; `_recursive_: false` leaves inner
            nodes as they are; arguments are always plain, which is what `_convert_: all` asks for.

    Raises:
        ConfigError: a target that a stranger's config may not call.
        TargetError: there is no such target.
    """
    check_trusted(node)
    return _built(node, is_recursive=True)


def _built(node: Any, *, is_recursive: bool) -> Any:
    if isinstance(node, list):
        return [_built(child, is_recursive=is_recursive) for child in node]
    if not isinstance(node, dict):
        return node
    if "_target_" not in node:
        return {name: _built(child, is_recursive=is_recursive) for name, child in node.items()}
    inner = node.get("_recursive_", is_recursive)
    given = {name: child for name, child in node.items() if name not in KEYWORDS}
    arguments = [_built(child, is_recursive=True) if inner else child for child in node.get("_args_", ())]
    named = {name: _built(child, is_recursive=True) if inner else child for name, child in given.items()}
    name = str(node["_target_"])
    target = locate(name)
    if node.get("_partial_"):
        return functools.partial(target, *arguments, **named)
    with calling("_target_", name):
        return target(*arguments, **named)
