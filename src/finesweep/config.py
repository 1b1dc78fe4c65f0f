"""Check a composed config before anything is loaded, and turn its nodes into objects."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from hydra.errors import InstantiationException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from finesweep import hub, machine, paths
from finesweep.data.labels import PROBLEM_TYPES
from finesweep.data.splits import split_faults
from finesweep.errors import ConfigError, Fault, FinesweepError, nearest
from finesweep.hydra_versions import instantiate, register_resolver
from finesweep.metrics import direction_of, metric_names, objective_names
from finesweep.signatures import Parameter, Signature, TargetError, signature_of

RUN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
INSTANTIATE_KEYS = {"_target_", "_partial_", "_args_", "_convert_", "_recursive_"}
UNRESOLVED = object()


@dataclass(frozen=True)
class Origin:
    """Where a config's values come from, so that a message can name the file to open.

    Args:
        choices: the chosen option of each config group.
        overrides: the command line's `key=value` words.
        path: the file of a saved config, which has no groups.
    """

    choices: dict[str, str] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    path: str = ""

    def of(self, key: str) -> str:
        """Name the source of a key: the command line, a group's file, or the primary config."""
        if any(override.lstrip("+~").partition("=")[0] == key for override in self.overrides):
            return "command line"
        if self.path:
            return self.path
        group = key.partition(".")[0]
        choice = self.choices.get(group)
        return f"conf/{group}/{choice}.yaml" if choice else "conf/train.yaml"


def check(config: DictConfig, origin: Origin | None = None, *, online: bool = True) -> dict[str, Any]:
    """Resolve a composed config to plain values, or report everything that is wrong with it.

    Every `_target_` is located and its arguments are bound to its signature, every interpolation is
    resolved, input files and hub names are looked for, and the rules between keys are applied.

    Args:
        config: the composed config.
        origin: where its values come from.
        online: ask the hub for models and data sets that are not on this machine.

    Raises:
        ConfigError: one fault for each mistake.
    """
    origin = origin or Origin()
    faults: list[Fault] = []
    plain = _resolve(config, "", origin, faults)
    for key, node in _targets(plain):
        faults += _check_target(key, node, origin, online)
    for rule in RULES:
        faults += rule(plain, origin)
    if faults:
        raise ConfigError(*_without_repeats(faults))
    return plain


def build(node: dict[str, Any], **runtime: Any) -> Any:
    """Instantiate a node's `_target_`; what is only known at run time goes to its `_partial_`.

    Raises:
        FinesweepError: the target's own complaint, without Hydra's wrapping.
    """
    try:
        target = instantiate(node)
    except InstantiationException as error:
        cause = error.__cause__
        while isinstance(cause, InstantiationException):
            cause = cause.__cause__
        if cause is None:
            raise
        raise cause from None
    return target(**runtime) if node.get("_partial_") else target


def register_resolvers() -> None:
    """Make finesweep's interpolations known to OmegaConf; calling it again changes nothing."""
    if not OmegaConf.has_resolver("finesweep.cores"):
        register_resolver("finesweep.cores", machine.usable_cores)
        register_resolver("finesweep.workers", machine.default_workers)


def saved_config(config: DictConfig) -> dict[str, Any]:
    """Return a config as it is written to disk: resolved, except for what the environment supplies.

    A value that comes from `${oc.env:...}` may be a secret, so its interpolation is kept instead.
    """
    raw = OmegaConf.to_container(config, resolve=False)
    here = _resolve(config, "", Origin(), [])
    if "oc.env" not in OmegaConf.to_yaml(config):
        return here
    with mock.patch.dict(os.environ, dict.fromkeys(os.environ, "\uffffelsewhere")):
        elsewhere = _resolve(config, "", Origin(), [])
    return _keep_raw_where_different(raw, here, elsewhere)


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


def _without_repeats(faults: list[Fault]) -> list[Fault]:
    """Leave out a fault that a later key repeats: the tokenizer follows the model's mistakes too."""
    last = {
        (fault.value if isinstance(fault.value, str) else id(fault), fault.rule): fault for fault in faults
    }
    return [fault for fault in faults if fault in last.values()]


def _name_rule(config: dict[str, Any], origin: Origin) -> Iterator[Fault]:
    name = config.get("name", UNRESOLVED)
    if name is not UNRESOLVED and not RUN_NAME.fullmatch(str(name)):
        rule = "A run name is 1 to 64 letters, digits, `.`, `_` or `-`, and doesn't start with a dot."
        yield Fault("name", rule, name, origin.of("name"), fix="It names a folder under outputs/runs.")


def _metric_rules(config: dict[str, Any], origin: Origin) -> Iterator[Fault]:
    data, objective = config.get("data"), config.get("objective")
    if not isinstance(data, dict) or not isinstance(objective, dict):
        return  # a part of a config, such as a sweeper's settings
    problem_type = PROBLEM_TYPES.get(str(data.get("task")))
    known, chosen = metric_names(problem_type), data.get("metrics", "auto")
    if not isinstance(chosen, list) and chosen not in ("auto", None, UNRESOLVED):
        rule, fix = "It is auto or a list of names.", f"Put it into brackets: data.metrics=[{chosen}]"
        yield Fault("data.metrics", rule, chosen, origin.of("data.metrics"), fix=fix)
    for name in chosen if isinstance(chosen, list) else ():
        if name not in known:
            rule = f"There is no such metric. {nearest(str(name), known)}".strip()
            yield Fault("data.metrics", rule, name, origin.of("data.metrics"), valid=known)
    metric, direction = str(objective.get("metric")), objective.get("direction")
    valid = objective_names(known, problem_type)
    if direction not in ("minimize", "maximize"):
        key = "objective.direction"
        yield Fault(key, "It must be minimize or maximize.", direction, origin.of(key))
    elif metric not in ("auto", *valid):
        rule = f"It must be the loss or a metric that is one number. {nearest(metric, valid)}".strip()
        key = "objective.metric"
        yield Fault(key, rule, metric, origin.of(key), valid=("auto", *valid))
    elif direction != ("maximize" if metric == "auto" else direction_of(metric)):
        key, better = "objective.direction", "higher" if direction == "minimize" else "lower"
        yield Fault(key, f"Of objective.metric={metric}, {better} is better.", direction, origin.of(key))


def _split_rules(config: dict[str, Any], origin: Origin) -> Iterator[Fault]:
    split = (config.get("data") or {}).get("split")
    settings = split.items() if isinstance(split, dict) else ()
    known = {name: value for name, value in settings if value is not UNRESOLVED}
    for fault in split_faults(known):
        yield Fault(fault.where, fault.rule, fault.value, origin.of(fault.where), fault.valid, fault.fix)


def _evaluation_rule(config: dict[str, Any], origin: Origin) -> Iterator[Fault]:
    if str((config.get("trainer") or {}).get("eval_strategy")) in ("no", "False"):
        key = "trainer.eval_strategy"
        rule = "Validation picks the best checkpoint, so it can't be switched off."
        yield Fault(key, rule, "no", origin.of(key), valid=("steps", "epoch"))


def _resume_rule(config: dict[str, Any], origin: Origin) -> Iterator[Fault]:
    if config.get("resume", "strict") not in ("strict", "auto"):
        yield Fault("resume", "It is strict or auto.", config["resume"], origin.of("resume"))


RULES: tuple[Callable[[dict[str, Any], Origin], Iterator[Fault]], ...] = (
    _name_rule,
    _metric_rules,
    _split_rules,
    _evaluation_rule,
    _resume_rule,
)
