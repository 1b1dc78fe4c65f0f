"""What can't be searched: every fault of a sweep's settings and axes, found before any trial."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from finesweep.config.check import check
from finesweep.config.diagnosis import fault_of_choice, fault_of_key
from finesweep.config.origin import Origin
from finesweep.config.trust import check_trusted
from finesweep.data.labels import PROBLEM_TYPES
from finesweep.errors import ConfigError, Fault, nearest
from finesweep.metrics import default_metrics, metric_names, objective_names
from finesweep.metrics.own import name_of
from finesweep.sweeps import manifest
from finesweep.sweeps.finalists import finalist_faults
from finesweep.sweeps.plan import AUTO, BASIC_LAUNCHER, NO_PRUNER, PURPOSES, Settings
from finesweep.sweeps.space import Space, to_override, value_on
from finesweep.system.machine import visible_gpus
from finesweep.system.override_words import read_word
from finesweep.system.redaction.words import masked_words
from finesweep.system.signatures import TargetError, locate

OWN_OBJECTIVES = ("objective", "trainable_parameters")
# Values without a group that a run itself reads; of others only those count that another value names.
READ_BY_RUNS = ("name", "output_dir", "seed", "threads", "speedups", "resume", "test", "baseline")


def check_sweep(
    base: DictConfig, config: DictConfig, settings: Settings, space: Space, arguments: Sequence[str]
) -> None:
    """Refuse a sweep that can't work, before any trial: settings, axes, the base config and values of axes.

    Args:
        base: what the trials' configs are made of.
        config: Hydra's sweep config.
        settings: of `hydra.sweeper`.
        space: what is searched.
        arguments: the command line's overrides.

    Raises:
        ConfigError: every fault.
    """
    faults = [*_secret_axis_faults(space)]
    for key, axis in space.axes.items():
        fault = (
            None
            if key.startswith("+")
            else fault_of_key(key, base, HydraConfig.get().runtime.choices, str(axis))
        )
        faults += [fault] if fault else []
    directions = settings.directions
    for direction in directions:
        if direction not in ("minimize", "maximize"):
            faults.append(Fault("hydra.sweeper.direction", "It must be minimize or maximize.", direction))
    for kind in ("sampler", "pruner"):
        if "_target_" not in getattr(settings, kind):
            fix = f"Choose one: hydra/sweeper/{kind}=..."
            faults.append(Fault(f"hydra.sweeper.{kind}._target_", "A value is required.", fix=fix))
    pruner = settings.pruner.get("_target_")
    if len(directions) > 1 and pruner != NO_PRUNER:
        rule = "Optuna can't prune with several objectives: a trial may be poor in one and best in the other."
        faults.append(Fault("hydra/sweeper/pruner", rule, pruner, fix="hydra/sweeper/pruner=none"))
    if settings.objectives and len(settings.objectives) != len(directions):
        rule = f"There must be one direction for each objective, but got {len(directions)} directions."
        faults.append(Fault("hydra.sweeper.objectives", rule, settings.objectives))
    for name, least in (
        ("n_trials", 1),
        ("processes_per_trial", 1),
        ("trials_per_worker", 1),
        ("n_startup_trials", 0),
        ("finalists", 0),
        ("n_jobs", 0),
        ("max_retries", 0),
        ("timeout", 0),
        ("worker_trials", 1),
        ("worker_timeout", 0),
    ):
        value = getattr(settings, name)
        if isinstance(value, int | float) and value < least:
            faults.append(Fault(f"hydra.sweeper.{name}", f"It must be {least} or more.", value))
    for name in ("trials_per_worker", "n_startup_trials", "finalists"):
        wanted = getattr(settings, name)
        if isinstance(wanted, str) and wanted != AUTO:
            faults.append(Fault(f"hydra.sweeper.{name}", "It must be auto or a whole number.", wanted))
    if settings.join and settings.detach:
        rule = "It either opens the sweep for others, or works on it."
        faults.append(Fault("hydra.sweeper.detach", rule, True, fix="hydra.sweeper.join=false"))
    if settings.purpose not in PURPOSES:
        faults.append(Fault("hydra.sweeper.purpose", "It must be search or confirm.", settings.purpose))
    if settings.target is not None and len(directions) > 1:
        rule = "A target needs a single objective."
        faults.append(Fault("hydra.sweeper.target", rule, settings.target, fix="hydra.sweeper.target=null"))
    faults += [
        *_custom_space_faults(settings),
        *_enqueue_faults(settings, space),
        *finalist_faults(settings, space),
        *_gpu_faults(config, settings),
        *_system_faults(settings),
    ]
    try:
        choices = {group: str(choice) for group, choice in HydraConfig.get().runtime.choices.items()}
        if "objective" in base:  # finesweep's own config, not another Hydra application's
            faults += _idle_axis_faults(base, space, choices)
            faults += _unmeasured_faults(base, settings)
            origin = Origin(choices, tuple(arguments), manifest.config_path(config))
            check(base, origin)
            faults += _value_faults(base, space, origin)
    except ConfigError as error:
        faults += error.faults
    if faults:
        raise ConfigError(*faults)


def _secret_axis_faults(space: Space) -> Iterator[Fault]:
    """Find axes that hold secrets: a study writes every value down, and so does a leaderboard."""
    for key, axis in space.axes.items():
        choices = axis.choices if isinstance(axis, CategoricalDistribution) else ()
        words = [to_override(key, value) for value in choices]
        if masked_words(words) != words:
            rule = "An axis's values are written into the study, and these hold a secret."
            fix = f"Keep them in the environment: {key}='${{oc.env:FIRST}}','${{oc.env:SECOND}}'"
            yield Fault(key, rule, fix=fix)


def _unmeasured_faults(base: DictConfig, settings: Settings) -> Iterator[Fault]:
    """Find names of objectives that no run measures, before each trial has been trained for nothing."""
    chosen = base.data.get("metrics")
    every = (name for kind in PROBLEM_TYPES.values() for name in default_metrics(kind))
    measured = [*chosen] if OmegaConf.is_list(chosen) else [*every]
    own = [name_of(entry) for entry in measured if not isinstance(entry, str)]
    known = dict.fromkeys((*OWN_OBJECTIVES, base.objective.metric, *objective_names(measured), *own))
    for name in settings.objectives or ():
        if name not in known:
            rule = f"The runs don't measure it. {nearest(name, metric_names())}".strip()
            fix = "data.metrics=[...] names all that they measure." if name in metric_names() else ""
            yield Fault("hydra.sweeper.objectives", rule, name, valid=tuple(known), fix=fix)


def _idle_axis_faults(base: DictConfig, space: Space, choices: Mapping[str, str]) -> Iterator[Fault]:
    """Find the axes that nothing reads, such as a ratio where the value made of it was given outright."""
    text = OmegaConf.to_yaml(base)
    plain: Any = OmegaConf.to_container(base, resolve=False)
    for key, axis in space.axes.items():
        is_value = key in base and not isinstance(plain[key], dict | list)
        if is_value and key not in (*READ_BY_RUNS, *choices) and f"${{{key}}}" not in text:
            rule = "Nothing in the config reads it, so that every value would give the same run."
            fix = f"Leave out the override of the value that was made from it, or give {key} one value."
            yield Fault(key, rule, axis, fix=fix)


def _value_faults(base: DictConfig, space: Space, origin: Origin) -> Iterator[Fault]:
    """Find the values of axes that no trial could use: choices one by one, of a range its ends."""
    axis: Any
    for key, axis in space.axes.items():
        ends = axis.choices if isinstance(axis, CategoricalDistribution) else (axis.low, axis.high)
        values = [read_word(to_override(key, value)).value() for value in ends]
        if key in origin.choices:
            faults = [fault_of_choice(key, value) for value in values]
            yield from (fault for fault in faults if fault)
        elif not set(key) & set("+~/@"):
            faults = [fault for value in values for fault in _faults_with(base, key, value, origin)]
            if isinstance(axis, FloatDistribution) and not _faults_with(base, key, int(axis.low), origin):
                whole = "It takes whole numbers: put int(...) around the axis."
                faults = [replace(fault, fix=whole) for fault in faults[:1]]
            yield from faults


def _faults_with(base: DictConfig, key: str, value: Any, origin: Origin) -> list[Fault]:
    """Return what is wrong with a key's value in the base config, the Hub not asked."""
    config = copy.deepcopy(base)
    OmegaConf.update(config, key, value, force_add=True)
    try:
        check(config, origin, online=False)
    except ConfigError as error:
        return [fault for fault in error.faults if fault.where.partition("[")[0] == key]
    return []


def _gpu_faults(config: DictConfig, settings: Settings) -> Iterator[Fault]:
    """Refuse trials of more processes than this machine has GPUs, if it has any and they run here."""
    gpus = len(visible_gpus())
    if 0 < gpus < settings.processes_per_trial and config.hydra.launcher._target_.endswith(BASIC_LAUNCHER):
        rule = f"Each process of a trial needs a GPU of its own, and this machine has {gpus}."
        yield Fault("hydra.sweeper.processes_per_trial", rule, settings.processes_per_trial)


def _system_faults(settings: Settings) -> Iterator[Fault]:
    if settings.processes_per_trial > 1 and not hasattr(os, "killpg"):  # Windows
        rule = "A trial of several processes is ended as a process group, which this system doesn't have."
        key = "hydra.sweeper.processes_per_trial"
        yield Fault(key, rule, settings.processes_per_trial, fix=f"{key}=1")


def _custom_space_faults(settings: Settings) -> Iterator[Fault]:
    if settings.custom_search_space:
        check_trusted({"_target_": settings.custom_search_space}, "hydra.sweeper.custom_search_space")
        try:
            locate(settings.custom_search_space)
        except TargetError as error:
            yield Fault("hydra.sweeper.custom_search_space", str(error), settings.custom_search_space)


def _enqueue_faults(settings: Settings, space: Space) -> Iterator[Fault]:
    for i, point in enumerate(settings.enqueue):
        for key, value in point.items():
            where = f"hydra.sweeper.enqueue[{i}].{key}"
            axis = space.axes.get(key)
            if axis is None and not settings.custom_search_space:  # which may suggest further parameters
                rule = f"The search space has no such axis. {nearest(key, space.axes)}".strip()
                yield Fault(where, rule, value, valid=tuple(space.axes))
            elif axis is not None and not _has(axis, value):
                yield Fault(where, f"It lies outside its axis, {axis}.", value)


def _has(axis: BaseDistribution, value: Any) -> bool:
    try:
        value_on(axis, value)
    except ValueError:
        return False
    return True
