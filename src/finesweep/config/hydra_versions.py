"""What differs between Hydra 1.3 and 1.4, in one place."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import hydra
import hydra.utils
import omegaconf
from omegaconf import OmegaConf
from omegaconf.resolvers import oc

# Hydra 1.4 checks targets against a list; finesweep has checks of its own (check.py, trust.py).
UNCHECKED: Any = getattr(hydra.utils, "UNSAFE_DISABLE_EXECUTION_CHECKS", None)
HAS_WHITELIST = "execution_whitelist" in inspect.signature(hydra.main).parameters

_environments: list[Callable[..., Any]] = [oc.env]  # what answers `oc.env`: the last of them


def main_options() -> dict[str, Any]:
    """Return the arguments of hydra.main that say which Hydra this is written for."""
    return {"execution_whitelist": UNCHECKED} if HAS_WHITELIST else {"version_base": "1.3"}


def register_resolver(name: str, function: Any, *, replace: bool = False) -> None:
    """Make an interpolation known; what OmegaConf 2.4 calls this is another function in 2.3."""
    is_new = tuple(map(int, omegaconf.__version__.split(".")[:2])) >= (2, 4)
    register: Any = OmegaConf.register_resolver if is_new else OmegaConf.register_new_resolver
    register(name, function, replace=replace)


@contextmanager
def without_environment(answer: Callable[..., Any]) -> Iterator[None]:
    """Let another function answer `oc.env`, OmegaConf's own, within the block."""
    _environments.append(answer)
    register_resolver("oc.env", answer, replace=True)
    try:
        yield
    finally:
        _environments.pop()
        register_resolver("oc.env", _environments[-1], replace=True)
