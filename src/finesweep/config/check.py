"""Check a composed config before anything is loaded, and turn its nodes into objects."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from operator import mul
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException
from omegaconf.resolvers import oc

from finesweep.config.hydra_versions import register_resolver, without_resolver
from finesweep.config.instantiation import instantiate
from finesweep.config.rules import RULES, UNRESOLVED, Origin
from finesweep.config.trust import check_config
from finesweep.errors import ConfigError, Fault, FinesweepError, nearest
from finesweep.system import hub, machine, paths
from finesweep.system.redaction.names import is_secret_name
from finesweep.system.signatures import Parameter, Signature, TargetError, signature_of

INSTANTIATE_KEYS = {"_target_", "_partial_", "_args_", "_convert_", "_recursive_"}


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
    plain = _resolve(config, "", origin, faults)
    check_config(config, plain)
    for key, node in _targets(plain):
        faults += _check_target(key, node, origin, online)
    for rule in RULES:
        faults += rule(plain, origin)
    if faults:
        raise ConfigError(*_without_repeats(faults, config))
    return plain


def build(node: dict[str, Any], **runtime: Any) -> Any:
    """Instantiate a node's `_target_`; what is only known at run time goes to its `_partial_`."""
    target = instantiate(node)
    return target(**runtime) if node.get("_partial_") else target


def register_resolvers() -> None:
    """Make finesweep's interpolations known to OmegaConf; calling it again changes nothing."""
    if not OmegaConf.has_resolver("finesweep.cores"):
        register_resolver("finesweep.cores", machine.usable_cores)
        register_resolver("finesweep.workers", machine.default_workers)
        register_resolver("finesweep.product", mul)


def saved_config(config: DictConfig) -> dict[str, Any]:
    """Return a config as it is written to disk: resolved, but for what the environment or the seed supplies.

    A value that comes from `${oc.env:...}` may be a secret; one that comes from `${seed}` has to change with
    the seed when the config is used again. Their interpolations are kept.
    """
    raw: Any = OmegaConf.to_container(config, resolve=False)
    saved = _resolve(config, "", Origin(), [])
    text = OmegaConf.to_yaml(config)
    if "oc.env" in text:
        with without_resolver("oc.env", _elsewhere):
            saved = _keep_raw_where_different(raw, saved, _resolve(config, "", Origin(), []))
    if "${seed}" in text:
        reseeded = OmegaConf.create({**raw, "seed": config["seed"] + 1})
        saved = _keep_raw_where_different(raw, saved, _resolve(reseeded, "", Origin(), []))
    return saved


def _elsewhere(name: str, *default: str) -> Any:
    """Answer `${oc.env:...}` as another machine would.

    With a variable that isn't set, a default was typed: beside a secret's name it may be one.
    """
    return "\uffffelsewhere" if name in os.environ or is_secret_name(name) else oc.env(name, *default)


def _keep_raw_where_different(raw: Any, here: Any, elsewhere: Any) -> Any:
    if here == elsewhere:
        return here
    if isinstance(raw, dict) and isinstance(elsewhere, dict):
        return {key: _keep_raw_where_different(raw[key], here[key], elsewhere[key]) for key in raw}
    if isinstance(raw, list) and isinstance(elsewhere, list):
        return [_keep_raw_where_different(*values) for values in zip(raw, here, elsewhere, strict=True)]
    return raw


def _resolve(node: Any, key: str, origin: Origin, faults: list[Fault]) -> Any:
    if isinstance(node, DictConfig):
        return {
            str(name): _resolve_child(node, name, f"{key}.{name}" if key else str(name), origin, faults)
            for name in node
        }
    if isinstance(node, ListConfig):
        return [_resolve_child(node, i, f"{key}[{i}]", origin, faults) for i in range(len(node))]
    return node


def _resolve_child(node: Any, name: Any, key: str, origin: Origin, faults: list[Fault]) -> Any:
    if OmegaConf.is_missing(node, name):
        faults.append(Fault(key, "A value is required.", source=origin.of(key), fix=f"Add {key}=... ."))
        return UNRESOLVED
    try:
        return _resolve(node[name], key, origin, faults)
    except InterpolationToMissingValueError:  # which has a fault of its own
        return UNRESOLVED
    except OmegaConfBaseException as error:
        raw = node._get_node(name)
        rule = f"Its interpolation can't be resolved: {str(error).splitlines()[0]}."
        faults.append(Fault(key, rule, value=raw, source=origin.of(key)))
        return UNRESOLVED


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
        if name in INSTANTIATE_KEYS or value is UNRESOLVED:
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
            paths.input_path(value)
        elif marker in ("hub-model", "hub-dataset") and (online or value.startswith(paths.PACKAGE_SCHEME)):
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
        if isinstance(node, DictConfig):
            node = node._get_node(name)
        elif isinstance(node, ListConfig) and name.isdecimal() and int(name) < len(node):
            node = node._get_node(int(name))
        else:
            return False
        if node is not None and node._is_interpolation():
            return True
    return False
