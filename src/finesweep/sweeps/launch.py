"""From Hydra's sweep config and a command line to a plan; refuse what can't work before any trial."""

from __future__ import annotations

import copy
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from finesweep.config.check import check
from finesweep.config.diagnosis import check_optional_choices, fault_of_choice, fault_of_key
from finesweep.config.origin import Origin
from finesweep.config.saved import saved_config
from finesweep.config.trust import check_trusted
from finesweep.data.labels import PROBLEM_TYPES
from finesweep.errors import ConfigError, Fault, nearest
from finesweep.metrics import default_metrics, metric_names, objective_names
from finesweep.runs.anchoring import anchored
from finesweep.sweeps import manifest
from finesweep.sweeps.controller import run_sweep
from finesweep.sweeps.plan import AUTO, BASIC_LAUNCHER, NO_PRUNER, PURPOSES, Plan, Settings, sampler_node
from finesweep.sweeps.space import Space, read_space, to_override, value_on
from finesweep.system import distributed
from finesweep.system.machine import visible_gpus
from finesweep.system.override_words import read_word
from finesweep.system.redaction.words import masked_words
from finesweep.system.signatures import TargetError, locate

FOLDER_KEY = "folder"
ABSENT = object()
OWN_OBJECTIVES = ("objective", "trainable_parameters")
# Values without a group that a run itself reads; of others only those count that another value names.
READ_BY_RUNS = ("name", "output_dir", "seed", "threads", "speedups", "resume", "test")


def sweep(
    hydra_context: Any,
    task_function: Any,
    config: DictConfig,
    arguments: Sequence[str],
    write_report: Callable[..., Path],
) -> None:
    """Run or continue the sweep of a `-m` command line.

    Args:
        hydra_context: composes configs.
        task_function: the job.
        config: Hydra's sweep config, sweep axes left out.
        arguments: the command line's overrides.
        write_report: called with the sweep's folder at its end; see commands.report.

    Raises:
        ConfigError: the space, the settings or the base config can't be used.
        FinesweepError: every trial failed, or too many did.
    """
    if distributed.world_size() > 1:
        rule = "A sweep starts the processes of its trials itself."
        fix = "Without accelerate launch: python train.py -m hydra.sweeper.processes_per_trial=2"
        raise ConfigError(Fault("accelerate launch", rule, fix=fix))
    HydraConfig.instance().set_config(config)
    check_optional_choices(arguments)
    node = OmegaConf.to_container(config.hydra.sweeper, resolve=False)
    assert isinstance(node, dict)
    node = {str(key): value for key, value in node.items() if not str(key).startswith("_")}
    folder = node.pop(FOLDER_KEY, None)
    settings = _settings(config, node, arguments)
    space = _space(config, arguments, settings)
    base = _job_config(config)
    typed: Any = OmegaConf.to_container(config.hydra.overrides.hydra, resolve=False)
    overrides = [*map(str, typed), *arguments]
    _check(base, config, settings, space, arguments)
    place = _folder(config, folder)
    before = manifest.read(place) or {}
    plan = Plan(
        folder=place,
        settings=settings,
        space=space,
        config=config,
        hydra_context=hydra_context,
        task_function=task_function,
        sweep_id=before.get("sweep_id") or secrets.token_hex(8),
        began_as=before.get("study_name") or "",
        is_old=bool(before) and "sweep_id" not in before,
    )
    default = default_point(config, space)
    content = manifest.describe(plan, overrides, saved_config(anchored(base, Path.cwd())), default)
    manifest.check_same(plan.folder, content)
    manifest.write(plan.folder, content)
    run_sweep(plan, default, write_report)


def default_point(config: DictConfig, space: Space) -> dict[str, Any]:
    """Return the config as it stands as a point of the space; empty when it lies outside."""
    point = {}
    for key, axis in space.axes.items():
        choices = HydraConfig.get().runtime.choices
        name = key.lstrip("+")
        value = choices[name] if name in choices else OmegaConf.select(config, name, default=ABSENT)
        try:
            point[key] = value_on(axis, _plain(value))
        except ValueError:
            return {}
    return point


def _settings(config: DictConfig, node: dict[str, Any], arguments: Sequence[str]) -> Settings:
    """Read `hydra.sweeper` against its signature, its sampler and pruner against theirs."""
    values = {
        key: _plain(config.hydra.sweeper[key]) if key != "storage" else value for key, value in node.items()
    }
    checked = {"_target_": f"{Settings.__module__}.{Settings.__qualname__}", **values}
    with suppress(TargetError, KeyError, TypeError):  # check() will say what is wrong with it
        checked["sampler"] = sampler_node(values["sampler"], seed=0)
    words = (*map(str, config.hydra.overrides.hydra), *arguments)
    check(
        OmegaConf.create({"hydra": {"sweeper": checked}}), Origin(overrides=words, path="conf/hydra/sweeper")
    )
    return Settings(**values)


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _space(config: DictConfig, arguments: Sequence[str], settings: Settings) -> Space:
    """Read the axes: those on the command line alone, unless a `sweeps=` choice was named too."""
    space = read_space(arguments, None)
    named = any(word.lstrip("+").startswith("sweeps=") for word in arguments)
    if not space.axes or named:
        space = read_space(arguments, settings.params)
    if not space.axes and not settings.custom_search_space:
        fix = "Name an axis, such as peft.r=2,4,8, or a search space: sweeps=lora."
        raise ConfigError(Fault("hydra.sweeper.params", "There is nothing to search.", fix=fix))
    return space


def _check(
    base: DictConfig, config: DictConfig, settings: Settings, space: Space, arguments: Sequence[str]
) -> None:
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
        ("n_jobs", 0),
        ("max_retries", 0),
        ("timeout", 0),
    ):
        value = getattr(settings, name)
        if isinstance(value, int | float) and value < least:
            faults.append(Fault(f"hydra.sweeper.{name}", f"It must be {least} or more.", value))
    wanted = settings.trials_per_worker
    if isinstance(wanted, str) and wanted != AUTO:
        faults.append(Fault("hydra.sweeper.trials_per_worker", "It must be auto or a whole number.", wanted))
    if settings.purpose not in PURPOSES:
        faults.append(Fault("hydra.sweeper.purpose", "It must be search or confirm.", settings.purpose))
    if settings.target is not None and len(directions) > 1:
        rule = "A target needs a single objective."
        faults.append(Fault("hydra.sweeper.target", rule, settings.target, fix="hydra.sweeper.target=null"))
    faults += [
        *_custom_space_faults(settings),
        *_enqueue_faults(settings, space),
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
    chosen = _plain(base.data.get("metrics"))
    if not isinstance(chosen, list):
        chosen = [name for kind in PROBLEM_TYPES.values() for name in default_metrics(kind)]
    known = dict.fromkeys((*OWN_OBJECTIVES, base.objective.metric, *objective_names(chosen)))
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


def _job_config(config: DictConfig) -> DictConfig:
    base = config.copy()
    with open_dict(base):
        base.pop("hydra")
    return base


def _folder(config: DictConfig, folder: str | None) -> Path:
    """Choose the sweep folder: the one that is named, else OUTPUT_DIR/sweeps/NAME, stamped unless named."""
    if folder:
        return Path(folder).expanduser().absolute()
    parent = Path(config.get("output_dir", "outputs"), "sweeps").absolute()
    name = config.get("name", config.hydra.job.name)
    if any(word.lstrip("+").startswith("name=") for word in config.hydra.overrides.task):
        return parent / name
    return parent / f"{name}-{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
