"""Hydra, initialised for composing outside its own command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from finesweep.config.hydra_insides import initialise


@contextmanager
def hydra_at(folder: str, added: str | None) -> Iterator[None]:
    """Initialise Hydra for composing, with the user's `--config-dir` in front, as its command line does."""
    GlobalHydra.instance().clear()
    initialise(folder, added)
    try:
        yield
    finally:
        GlobalHydra.instance().clear()


def compose_named(name: str, overrides: list[str]) -> DictConfig:
    """Compose a primary config with Hydra's own node, which HydraConfig then has too."""
    config = compose(name, overrides, return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    return config
