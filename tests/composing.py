"""Compose shipped configs in tests the way the command line does."""

from __future__ import annotations

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from finesweep.config.build import register_resolvers
from finesweep.config.hydra_versions import HAS_WHITELIST
from finesweep.system.places import config_folder
from finesweep.trackers.choice import spelled_out

VERSION = {} if HAS_WHITELIST else {"version_base": "1.3"}


def compose_config(*overrides: str) -> DictConfig:
    """Return the config of `python train.py OVERRIDES`."""
    register_resolvers()
    with initialize_config_dir(str(config_folder()), **VERSION):
        config = compose("train", [*spelled_out(overrides)], return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        config.pop("hydra")
    return config
