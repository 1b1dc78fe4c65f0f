"""From Hydra's sweep config and a command line to a plan."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from finesweep.config.check import check
from finesweep.config.diagnosis import check_optional_choices
from finesweep.config.origin import Origin
from finesweep.config.saved import saved_config
from finesweep.errors import ConfigError, Fault
from finesweep.runs.anchoring import anchored
from finesweep.sweeps import manifest
from finesweep.sweeps.checks import check_sweep
from finesweep.sweeps.controller import run_sweep
from finesweep.sweeps.joining import join
from finesweep.sweeps.opening import changing, open_sweep, say_opened
from finesweep.sweeps.plan import Plan, Settings, sampler_node
from finesweep.sweeps.recall import recall
from finesweep.sweeps.space import Space, read_space, value_on
from finesweep.system import distributed
from finesweep.system.override_words import key_of
from finesweep.system.signatures import TargetError

FOLDER_KEY = "folder"
HYDRA_S_FOLDER = "hydra.sweep.dir"
ABSENT = object()


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
        TrialsLeft: a worker that has joined the sweep ends before the sweep does.
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
    check_sweep(base, config, settings, space, arguments)
    place = _folder(config, folder, settings)
    with changing(place):
        before = manifest.read(place) or {}
        plan = Plan(
            folder=place,
            settings=settings,
            space=space,
            config=config,
            hydra_context=hydra_context,
            task_function=task_function,
            default=default_point(config, space),
            sweep_id=before.get("sweep_id") or secrets.token_hex(8),
            began_as=before.get("study_name") or "",
            is_old=bool(before) and "sweep_id" not in before,
        )
        kept = manifest.remembered(place, before, space) if before else recall(plan, base)
        plan = replace(plan, remembered=kept)
        content = manifest.describe(plan, overrides, saved_config(anchored(base, Path.cwd())))
        manifest.check_same(plan.folder, content)
        if settings.join or settings.detach:
            open_sweep(plan, content)
        else:
            manifest.write(plan.folder, content)
    if settings.detach:
        say_opened(plan)
    elif settings.join:
        join(plan, write_report)
    else:
        run_sweep(plan, write_report)


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


def _job_config(config: DictConfig) -> DictConfig:
    base = config.copy()
    with open_dict(base):
        base.pop("hydra")
    return base


def _folder(config: DictConfig, folder: str | None, settings: Settings) -> Path:
    """Choose the sweep folder: the one that is named, else OUTPUT_DIR/sweeps/NAME, stamped unless named."""
    if any(key_of(word) == HYDRA_S_FOLDER for word in config.hydra.overrides.hydra):
        folder = folder or config.hydra.sweep.dir
    if folder:
        return Path(folder).expanduser().absolute()
    if settings.join and not _is_named(config):
        rule = "Without a name each worker would begin a sweep of its own."
        fix = "Give it one: name=my-study."
        raise ConfigError(Fault("hydra.sweeper.join", rule, True, fix=fix))
    parent = Path(config.get("output_dir", "outputs"), "sweeps").absolute()
    name = config.get("name", config.hydra.job.name)
    if _is_named(config):
        return parent / name
    return parent / f"{name}-{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def _is_named(config: DictConfig) -> bool:
    return any(word.lstrip("+").startswith("name=") for word in config.hydra.overrides.task)
