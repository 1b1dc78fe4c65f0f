"""What a config from a stranger may instantiate: the targets of finesweep's own configs, and no more."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from finesweep.errors import ConfigError, Fault
from finesweep.paths import config_folder
from finesweep.rundir import HYDRA_SETTINGS

# Arguments through which an allowed target would import code, or send something away.
GUARDED_KEYS = (
    "trust_remote_code",
    "push_to_hub",
    "megatron_core",
    "megatron_config",
    "function",
    "url",
    "tracking_uri",
)
TARGET_LINE = re.compile(r"^\s*_target_:\s*(\S+)", re.MULTILINE)


def check_trusted(config: DictConfig, trusted: Collection[str] = ()) -> None:
    """Refuse a saved config whose targets are neither shipped with finesweep nor named by the user.

    Args:
        config: a config read from a file that may have come from anywhere.
        trusted: targets, or guarded keys, that the user vouches for.

    Raises:
        ConfigError: each target or key that is not allowed.
    """
    plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
    allowed = shipped_targets() | set(trusted)
    faults = [
        Fault(f"{key}._target_", "This saved config would call something that finesweep's own configs don't.",
              target, fix=f"If you know it and trust it: --trust {target}")
        for key, target in _found(plain, "_target_") if str(target) not in allowed
    ]  # fmt: skip
    for guarded in GUARDED_KEYS:
        faults += [
            Fault(f"{key}.{guarded}", "This saved config would run foreign code, or go to another machine.",
                  value, fix=f"If you trust where it leads: --trust {guarded}")
            for key, value in _found(plain, guarded) if value and guarded not in trusted
        ]  # fmt: skip
    if faults:
        raise ConfigError(*faults)


def check_trusted_file(path: Path, trusted: Collection[str] = ()) -> None:
    """Refuse a saved config that would steer Hydra itself, whose callbacks run before any check of ours.

    Args:
        path: the file that is about to become Hydra's primary config.
        trusted: `hydra` lets it through.

    Raises:
        ConfigError: its `hydra` or `defaults` differ from those that finesweep writes.
    """
    if not path.is_file() or "hydra" in trusted:
        return
    content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    found = content if isinstance(content, dict) else {}
    rule = "This saved config has settings for Hydra that finesweep doesn't write; they can run code."
    faults = [
        Fault(f"{path}: {key}", rule, found[key], fix="If you know them and trust them: --trust hydra")
        for key, written in HYDRA_SETTINGS.items()
        if found.get(key, written) != written
    ]
    if faults:
        raise ConfigError(*faults)


def targets_in(node: Any) -> frozenset[str]:
    """Return every `_target_` in plain values."""
    return frozenset(str(target) for _, target in _found(node, "_target_"))


@cache
def shipped_targets() -> frozenset[str]:
    """Return every `_target_` in finesweep's own config files."""
    files = config_folder().rglob("*.yaml")
    return frozenset(target for file in files for target in TARGET_LINE.findall(file.read_text())) - {"???"}


def _found(node: Any, name: str, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        if name in node:
            yield key, node[name]
        for child_name, child in node.items():
            yield from _found(child, name, f"{key}.{child_name}" if key else str(child_name))
    elif isinstance(node, list):
        for i, child in enumerate(node):
            yield from _found(child, name, f"{key}[{i}]")
