"""A composed config to plain values, its interpolations resolved."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from finesweep.config.omegaconf_insides import ENDLESS, EndlessInterpolation, full_key
from finesweep.config.origin import UNRESOLVED, Origin
from finesweep.errors import ConfigError, Fault

# What a config may be when it is resolved: 5,000 interpolations, or half a million other values.
MOST_COST, COST_OF_VALUE, COST_OF_INTERPOLATION = 5_000_000, 10, 1_000


def resolve(node: Any, key: str, origin: Origin, faults: list[Fault]) -> Any:
    """Return plain values; what is missing, or can't be resolved, is UNRESOLVED and adds a fault.

    Args:
        node: a part of a config.
        key: where it stands, empty for all of it.
        origin: where its values come from.
        faults: is added to.
    """
    if isinstance(node, DictConfig):
        return {
            str(name): _resolve_child(node, name, f"{key}.{name}" if key else str(name), origin, faults)
            for name in node
        }
    if isinstance(node, ListConfig):
        return [_resolve_child(node, i, f"{key}[{i}]", origin, faults) for i in range(len(node))]
    return node


def check_size(config: DictConfig) -> None:
    """Refuse a config whose interpolations repeat each other until they fill the memory.

    Raises:
        ConfigError: naming a value that is too much.
    """
    cost = 0
    waiting: list[Any] = [config]
    while waiting:
        node = waiting.pop()
        names: Any = node if isinstance(node, DictConfig) else range(len(node))
        for name in names:
            try:
                is_interpolation, child = OmegaConf.is_interpolation(node, name), node[name]
            except EndlessInterpolation:
                is_interpolation, child, cost = True, None, MOST_COST
            except OmegaConfBaseException:  # `resolve` says what is wrong
                continue
            cost += COST_OF_INTERPOLATION if is_interpolation else COST_OF_VALUE
            cost += len(child) if is_interpolation and isinstance(child, str) else 0
            if cost > MOST_COST:
                where = f"{full_key(node)}.{name}".lstrip(".")
                raise ConfigError(Fault(where, f"Resolved, it would fill the memory: {ENDLESS}."))
            if OmegaConf.is_config(child):
                waiting.append(child)


def _resolve_child(node: Any, name: Any, key: str, origin: Origin, faults: list[Fault]) -> Any:
    if OmegaConf.is_missing(node, name):
        faults.append(Fault(key, "A value is required.", source=origin.of(key), fix=f"Add {key}=... ."))
        return UNRESOLVED
    try:
        return resolve(node[name], key, origin, faults)
    except InterpolationToMissingValueError:  # which has a fault of its own
        return UNRESOLVED
    except OmegaConfBaseException as error:
        rule = f"Its interpolation can't be resolved: {str(error).splitlines()[0]}."
        faults.append(Fault(key, rule, value=written(node, name), source=origin.of(key)))
        return UNRESOLVED


def written(node: DictConfig | ListConfig, name: Any) -> Any:
    """Return what stands at a place of a config, as plain values: interpolations as they were typed."""
    whole: Any = OmegaConf.to_container(node, resolve=False)
    return whole[name]
