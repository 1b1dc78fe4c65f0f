"""Hydra, initialised for composing outside its own command line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from hydra import compose
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig


@contextmanager
def hydra_at(folder: str, added: str | None) -> Iterator[None]:
    """Initialise Hydra for composing, with the user's `--config-dir` in front, as its command line does."""
    search_path = create_config_search_path(folder)
    if added:
        search_path.prepend("command-line", f"file://{os.path.abspath(added)}")
    GlobalHydra.instance().clear()
    Hydra.create_main_hydra2("train", search_path)
    try:
        yield
    finally:
        GlobalHydra.instance().clear()


def compose_named(name: str, overrides: list[str]) -> DictConfig:
    """Compose a primary config with Hydra's own node, which HydraConfig then has too."""
    config = compose(name, overrides, return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    return config
