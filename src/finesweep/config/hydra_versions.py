"""What differs between Hydra 1.3 and 1.4, in one place."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import hydra
import hydra.utils
import omegaconf
from omegaconf import OmegaConf
from omegaconf.basecontainer import BaseContainer

# Hydra 1.4 checks targets against a list; finesweep has checks of its own (config.py, trust.py).
UNCHECKED: Any = getattr(hydra.utils, "UNSAFE_DISABLE_EXECUTION_CHECKS", None)
HAS_WHITELIST = "execution_whitelist" in inspect.signature(hydra.main).parameters


def main_options() -> dict[str, Any]:
    """Return the arguments of hydra.main that say which Hydra this is written for."""
    return {"execution_whitelist": UNCHECKED} if HAS_WHITELIST else {"version_base": "1.3"}


def register_resolver(name: str, function: Any, *, replace: bool = False) -> None:
    """Make an interpolation known; what OmegaConf 2.4 calls this is another function in 2.3."""
    is_new = tuple(map(int, omegaconf.__version__.split(".")[:2])) >= (2, 4)
    register: Any = OmegaConf.register_resolver if is_new else OmegaConf.register_new_resolver
    register(name, function, replace=replace)


@contextmanager
def without_resolver(name: str, refuse: Callable[..., Any]) -> Iterator[None]:
    """Let another function answer an interpolation of OmegaConf's own (`oc.*`) within the block."""
    own = BaseContainer._resolvers[name]
    register_resolver(name, refuse, replace=True)
    try:
        yield
    finally:
        BaseContainer._resolvers[name] = own


def hide_choices(names: Collection[str]) -> None:
    """Leave files out of what Hydra lists, in its help and tab completion; it has no setting for it."""
    from hydra._internal.sources_registry import SourcesRegistry
    from hydra.core.plugins import Plugins

    Plugins.instance()  # it is what registers them
    source: Any = SourcesRegistry.instance().resolve("file")
    if hasattr(source.list, "hides"):
        return
    listed = source.list

    def list_(self: Any, config_path: str, results_filter: Any) -> list[str]:
        return [name for name in listed(self, config_path, results_filter) if name not in names]

    list_.hides = names  # type: ignore[attr-defined]
    source.list = list_
