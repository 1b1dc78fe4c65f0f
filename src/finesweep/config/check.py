"""Check a composed config before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from finesweep.config.build import KEYWORDS
from finesweep.config.origin import UNRESOLVED, Origin
from finesweep.config.own_metrics import metric_entries, own_metric_faults
from finesweep.config.own_training import LOSS, own_training_faults
from finesweep.config.resolution import check_size, resolve
from finesweep.config.rules import RULES
from finesweep.config.trust import check_config, targets_in
from finesweep.config.unread import shape_faults, unread_faults
from finesweep.errors import ConfigError, Fault, FinesweepError, nearest
from finesweep.metrics.own import use_own
from finesweep.system import hub, paths
from finesweep.system.signatures import Parameter, Signature, TargetError, find_beside, signature_of


def check(config: DictConfig, origin: Origin | None = None, *, online: bool = True) -> dict[str, Any]:
    """Resolve a composed config to plain values, or report everything that is wrong with it.

    Every `_target_` is located and its arguments are bound to its signature, every interpolation is
    resolved, input files and hub names are looked for, and the rules between keys are applied.

    Args:
        config: the composed config.
        origin: where its values come from.
        online: ask the hub for models and data sets that are not on this machine.

    Raises:
        ConfigError: one fault for each mistake; those of trust first, before anything is imported.
    """
    origin = origin or Origin()
    faults: list[Fault] = []
    check_size(config)
    plain = resolve(config, "", origin, faults)
    if shapes := shape_faults(plain, origin):  # nothing else of it can be judged
        raise ConfigError(*faults, *shapes)
    check_config(config, plain)
    find_beside([*targets_in(plain), *_functions(plain)], Path.cwd())
    own = [*own_metric_faults(plain, origin)]
    if not own and "metrics" in (plain.get("data") or {}):
        entries = metric_entries(plain)
        names = use_own(entries)
        plain["data"]["metrics"] = names if entries else plain["data"]["metrics"]
    faults += own
    faults += own_training_faults(plain, origin)
    for key, node in _targets(plain):
        if key == LOSS or key.startswith("data.metrics["):
            continue
        faults += _check_target(key, node, origin, online)
    for rule in RULES:
        known = {fault.where for fault in faults}
        faults += [fault for fault in rule(plain, origin) if fault.where not in known]
    faults += unread_faults(config, origin)
    if faults:
        raise ConfigError(*_without_repeats(faults, config))
    if isinstance(plain.get("name"), int):  # name=2024
        plain["name"] = str(plain["name"])
    return plain


def _functions(plain: dict[str, Any]) -> Iterator[str]:
    """Give the dotted path of a source's function, if it has one."""
    source = (plain.get("data") or {}).get("source")
    function = source.get("function") if isinstance(source, dict) else None
    if isinstance(function, str) and ":" not in function:
        yield function


def _targets(node: Any, key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield key, node
        for name, child in node.items():
            yield from _targets(child, f"{key}.{name}" if key else name)
    elif isinstance(node, list):
        for i, child in enumerate(node):
            yield from _targets(child, f"{key}[{i}]")


def _check_target(key: str, node: dict[str, Any], origin: Origin, online: bool) -> list[Fault]:
    target = node["_target_"]
    if target is UNRESOLVED:
        return []
    try:
        signature = signature_of(str(target))
    except TargetError as error:
        where = f"{key}._target_"
        return [Fault(where, str(error), value=target, source=origin.of(where))]
    faults = _missing_arguments(key, node, signature, origin)
    for name, value in node.items():
        if name in KEYWORDS or value is UNRESOLVED:
            continue
        full_key = f"{key}.{name}"
        if name in signature.parameters:
            faults += _check_value(full_key, value, signature.parameters[name], node, origin, online)
        elif name in signature.reserved:
            faults.append(Fault(full_key, signature.reserved[name], value, origin.of(full_key)))
        elif not signature.open:
            rule = f"{target} has no argument `{name}`. {nearest(name, signature.parameters)}".strip()
            faults.append(
                Fault(full_key, rule, value, origin.of(full_key), valid=tuple(signature.parameters))
            )
    return faults


def _missing_arguments(key: str, node: dict[str, Any], signature: Signature, origin: Origin) -> list[Fault]:
    if node.get("_partial_") or node.get("_args_"):
        return []
    return [
        Fault(
            f"{key}.{name}",
            f"{node['_target_']} needs it.",
            source=origin.of(key),
            fix=f"Add +{key}.{name}=... .",
        )
        for name, parameter in signature.parameters.items()
        if parameter.required and name not in node
    ]


def _check_value(
    key: str, value: Any, parameter: Parameter, node: dict[str, Any], origin: Origin, online: bool
) -> list[Fault]:
    if isinstance(value, dict) and "_target_" in value:
        return []
    if parameter.types and not _has_type(value, parameter):
        if parameter.choices:
            rule = f"It must be one of the names below. {nearest(str(value), parameter.choices)}".strip()
        else:
            rule = f"It must be {_type_words(parameter.types)}, not {_type_words((_type_of(value),))}."
        return [Fault(key, rule, value, origin.of(key), valid=parameter.choices)]
    return _check_marked(key, value, parameter.marker, node, origin, online) if isinstance(value, str) else []


def _check_marked(
    key: str, value: str, marker: str, node: dict[str, Any], origin: Origin, online: bool
) -> list[Fault]:
    try:
        if marker == "input-path":
            paths.check_readable(paths.input_path(value))
        if marker == "hub-model":
            paths.check_model_readable(value)
        if marker in ("hub-model", "hub-dataset") and (online or value.startswith(paths.PACKAGE_SCHEME)):
            kind = "model" if marker == "hub-model" else "dataset"
            hub.check_available(value, kind=kind, key=key, revision=node.get("revision"))
    except FinesweepError as error:
        return [
            Fault(key, fault.rule, value, origin.of(key), fault.valid, fault.fix) for fault in error.faults
        ]
    return []


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    for type_, name in ((bool, "bool"), (int, "int"), (float, "float"), (str, "str"), (list, "list")):
        if isinstance(value, type_):
            return name
    return "dict"


def _has_type(value: Any, parameter: Parameter) -> bool:
    kind = _type_of(value)
    if kind == "str" and "choice" in parameter.types:
        return not parameter.choices or value in parameter.choices
    return kind in parameter.types


def _type_words(types: Sequence[str]) -> str:
    words = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "a text"}
    words |= {"list": "a list", "dict": "a mapping", "null": "null", "choice": "one of its names"}
    shown = [name for name in types if not (name == "int" and "float" in types)]
    return " or ".join(words[name] for name in shown)


def _without_repeats(faults: list[Fault], config: DictConfig) -> list[Fault]:
    """Leave out a fault of a key that follows another's: the tokenizer's name is the model's."""
    typed = [fault for fault in faults if not _is_reference(config, fault.where)]
    known = [(fault.value, fault.rule) for fault in typed]
    return [fault for fault in faults if fault in typed or (fault.value, fault.rule) not in known]


def _is_reference(config: DictConfig, key: str) -> bool:
    """Whether a key's value, or that of a node that it is in, is taken from elsewhere."""
    node: Any = config
    for name in key.replace("[", ".").replace("]", "").split("."):
        is_list = isinstance(node, ListConfig)
        place: Any = int(name) if is_list and name.isdecimal() else name
        places = range(len(node)) if is_list else node.keys() if isinstance(node, DictConfig) else ()
        if place not in places or OmegaConf.is_missing(node, place):
            return False
        if OmegaConf.is_interpolation(node, place):
            return True
        node = node[place]
    return False
