"""Compose shipped configs in tests the way the command line does."""

from __future__ import annotations

import copy
import functools
import os
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, open_dict

from finesweep.config.build import register_resolvers
from finesweep.config.hydra_versions import HAS_WHITELIST
from finesweep.system.places import config_folder
from finesweep.trackers.choice import spelled_out

VERSION = {} if HAS_WHITELIST else {"version_base": "1.3"}


def compose_config(*overrides: str) -> DictConfig:
    """Return the config of `python train.py OVERRIDES`.

    Each choice of groups is composed once, which takes Hydra most of its time; values are put into a copy.
    """
    register_resolvers()
    words = [*spelled_out(overrides)]
    groups = tuple(word for word in words if _is_group(word))
    config = copy.deepcopy(_composed(config_folder(), groups))
    values = OverridesParser.create().parse_overrides([word for word in words if word not in groups])
    ConfigLoaderImpl._apply_overrides_to_config(values, config)
    config.hydra.overrides.task = words
    config.hydra.runtime.cwd = os.getcwd()
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        config.pop("hydra")
    return config


def _is_group(word: str) -> bool:
    """Say whether a word chooses a file of a group, or is about Hydra itself."""
    name = word.partition("=")[0].lstrip("+~").partition("@")[0]
    return name.startswith("hydra") or (config_folder() / name).is_dir()


@functools.cache
def _composed(folder: Path, groups: tuple[str, ...]) -> DictConfig:
    with initialize_config_dir(str(folder), **VERSION):
        return compose("train", [*groups], return_hydra_config=True)
