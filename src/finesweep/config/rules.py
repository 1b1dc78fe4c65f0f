"""Rules between a config's keys, and those that no signature can state."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from finesweep.config.columns import column_rule
from finesweep.config.origin import UNRESOLVED, Origin
from finesweep.config.ranges import output_rule, range_rule, speedups_rule
from finesweep.config.replay import masked_faults
from finesweep.data.labels import PROBLEM_TYPES
from finesweep.data.splits import split_faults
from finesweep.errors import Fault, nearest
from finesweep.metrics import direction_of, metric_names, objective_names
from finesweep.system.override_words import key_of
from finesweep.system.signatures import TargetError, locate
from finesweep.trackers.base import trackers_in

RUN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
# What a schedule of transformers can't be made without: one of these, in lr_scheduler_kwargs.
SCHEDULE_NEEDS = {
    "warmup_stable_decay": ("num_decay_steps",),
    "cosine_with_min_lr": ("min_lr", "min_lr_rate"),
    "cosine_warmup_with_min_lr": ("min_lr", "min_lr_rate"),
}
# The package behind `optim`; the first pattern that is found in its name counts.
OPTIM_PACKAGES = {
    "galore": "galore_torch",
    "apollo": "apollo_torch",
    "lomo": "lomo_optim",
    "grokadamw": "grokadamw",
    "schedule_free": "schedulefree",
    "stable_adamw": "optimi",
    "anyprecision": "torchdistx",
    "torch_[48]bit": "torchao",
    "bnb|8bit|paged|lion|ademamix": "bitsandbytes",
}


def _name_rule(config: dict[str, Any], origin: Origin) -> Iterator[Fault]:
    name = config.get("name", UNRESOLVED)
    is_read_as_number = isinstance(name, float | bool) or name is None  # 1e3 would be 1000.0
    if name is not UNRESOLVED and (is_read_as_number or not RUN_NAME.fullmatch(str(name))):
        rule = "A run name is 1 to 64 letters, digits, `.`, `_` or `-`, and doesn't start with a dot."
        fix = "It names a folder under outputs/runs."
        fix += " Quote what looks like a number: name='\"1e3\"'" * is_read_as_number
        yield Fault("name", rule, name, origin.of("name"), fix=fix)


def _masked_rule(config: dict[str, Any], origin: Origin) -> Iterator[Fault]:
    if origin.path:
        used = {part: config[part] for part in origin.reads or config}
        yield from masked_faults(used, origin.path, [key_of(word) for word in origin.overrides])


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
        if isinstance(name, str) and name not in known:
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


def _schedule_rule(config: dict[str, Any], origin: Origin) -> Iterator[Fault]:
    trainer, key = config.get("trainer") or {}, "trainer.lr_scheduler_type"
    name, given = str(trainer.get("lr_scheduler_type")), trainer.get("lr_scheduler_kwargs") or {}
    needs = SCHEDULE_NEEDS.get(name, ())
    if (
        needs
        and not trainer.get("lr_scheduler")
        and isinstance(given, dict)
        and not given.keys() & set(needs)
    ):
        rule = f"It needs {' or '.join(needs)} in trainer.lr_scheduler_kwargs."
        fix = f"+trainer.lr_scheduler_kwargs.{needs[-1]}={'100' if 'steps' in needs[-1] else '0.1'}"
        yield Fault(key, rule, name, origin.of(key), fix=fix)


def _optim_rule(config: dict[str, Any], origin: Origin) -> Iterator[Fault]:
    """An optimizer's package is asked for now, and not when the model is there."""
    trainer, key = config.get("trainer") or {}, "trainer.optim"
    name = str(trainer.get("optim"))
    package = next((package for part, package in OPTIM_PACKAGES.items() if re.search(part, name)), None)
    if package and not trainer.get("optimizer") and importlib.util.find_spec(package) is None:
        rule = f"It needs the package {package}, which isn't installed."
        yield Fault(key, rule, name, origin.of(key), fix="trainer.optim=adamw_torch needs none.")


def _baseline_rule(config: dict[str, Any], origin: Origin) -> Iterator[Fault]:
    if config.get("baseline", "none") not in ("auto", "none", UNRESOLVED):
        rule, valid = "It says whether a linear probe is measured.", ("auto", "none")
        yield Fault("baseline", rule, config["baseline"], origin.of("baseline"), valid=valid)


def _resume_rule(config: dict[str, Any], origin: Origin) -> Iterator[Fault]:
    if config.get("resume", "strict") not in ("strict", "auto"):
        yield Fault("resume", "It is strict or auto.", config["resume"], origin.of("resume"))


def _remote_code_rule(config: dict[str, Any], origin: Origin) -> Iterator[Fault]:
    """A file may not switch on foreign code; a saved config's is asked about elsewhere (see trust.py)."""
    key = "model.trust_remote_code"
    asked = (config.get("model") or {}).get("trust_remote_code") not in (None, False)
    if asked and origin.choices and origin.of(key) != "command line":
        rule = "It runs Python files that come with the model, so it has to be on the command line."
        yield Fault(key, rule, True, origin.of(key), fix=f"If you trust its authors, add {key}=true to it.")


def _tracker_rule(config: dict[str, Any], origin: Origin) -> Iterator[Fault]:
    """A tracker's package is an extra: ask for it now, and not in the thread where the tracker starts."""
    for node in trackers_in(config.get("tracker")):
        with suppress(TargetError):  # which has a fault of its own
            package = getattr(locate(str(node.get("_target_"))), "package", None)
            if package and importlib.util.find_spec(package) is None:
                rule = f"It needs the package {package}, which isn't installed."
                fix = f"pip install 'finesweep[{package}]'"
                yield Fault("tracker", rule, node["_target_"], origin.of("tracker"), fix=fix)


RULES: tuple[Callable[[dict[str, Any], Origin], Iterator[Fault]], ...] = (
    _name_rule,
    _masked_rule,
    range_rule,
    speedups_rule,
    output_rule,
    column_rule,
    _metric_rules,
    _split_rules,
    _evaluation_rule,
    _schedule_rule,
    _optim_rule,
    _baseline_rule,
    _resume_rule,
    _remote_code_rule,
    _tracker_rule,
)
