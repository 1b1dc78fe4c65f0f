"""What a stranger's folder may say to Hydra itself: what finesweep's own configs say, and no more."""

from __future__ import annotations

import functools
from functools import cache
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from finesweep.config.hydra_insides import BASIC_LAUNCHER, BASIC_SWEEPER
from finesweep.config.resolution import check_size
from finesweep.config.saved import HYDRA_SETTINGS
from finesweep.config.trust import HYDRA, OWN, faults_in, leaves, unresolved_faults, vouched
from finesweep.errors import ConfigError, Fault
from finesweep.system.override_words import key_of

HYDRA_TARGETS = {BASIC_LAUNCHER, BASIC_SWEEPER}
# Settings of Hydra's that run code, change the process or say where Hydra writes, unresolved: as finesweep's
# configs have them, or as they are by themselves.
STAMP = "${now:%Y-%m-%d}/${now:%H-%M-%S}"
STEERING: dict[str, tuple[Any, ...]] = {
    "callbacks": ({},),
    "searchpath": ([],),
    "job.env_set": ({},),
    "job.env_copy": ([],),
    "run.dir": (".", f"outputs/{STAMP}"),
    "output_subdir": (None, ".hydra"),
    "sweep.dir": (".", f"multirun/{STAMP}"),
    "sweep.subdir": ("${hydra.job.num}",),
}
LOGGING = ("job_logging", "hydra_logging")


def check_hydra(config: DictConfig) -> None:
    """Refuse a composed config that would make Hydra itself run code, whatever file it came from.

    Args:
        config: composed, with Hydra's own node. What its command line sets for Hydra, the user has typed.

    Raises:
        ConfigError: settings that finesweep's own configs don't make.
    """
    trusted = vouched()
    if trusted is None:
        return
    check_size(config)
    typed = {key_of(str(word)) for word in config.hydra.overrides.hydra}
    rule = "What was saved has settings for Hydra that finesweep doesn't write; they can run code."
    fix = "If you know them and trust them: --trust hydra"
    raw: Any = OmegaConf.to_container(config.hydra, resolve=False)
    usual = STEERING | {key: _shipped_logging(key) for key in LOGGING}
    found = {key: functools.reduce(lambda node, name: node[name], key.split("."), raw) for key in usual}
    faults = [
        Fault(f"hydra.{key}", rule, value, fix=fix)
        for key, value in found.items()
        if value not in usual[key] and HYDRA not in trusted and f"hydra.{key}" not in typed
    ]
    for part in () if OWN in trusted else ("launcher", "sweeper"):
        plain = _resolved(config, f"hydra.{part}")
        if isinstance(plain, dict) and plain.get("storage") is not None:
            plain = {name: value for name, value in plain.items() if name != "storage"}  # see check_storage
        faults += faults_in(plain, f"hydra.{part}", trusted | HYDRA_TARGETS)
        if any("${" in str(value) for _, value in leaves(plain)):  # Hydra would resolve it once more
            faults.append(Fault(f"hydra.{part}", rule, plain, fix=fix))
    faults += unresolved_faults(config)
    if faults:
        raise ConfigError(*faults)


def check_searched(primary: Any) -> None:
    """Refuse a saved config that has Hydra search elsewhere, before it does: `pkg://NAME` imports a package.

    Args:
        primary: the file's content, unresolved.

    Raises:
        ConfigError: it names a search path.
    """
    hydra = primary.get("hydra") if isinstance(primary, dict) else None
    places = hydra.get("searchpath") if isinstance(hydra, dict) else None
    trusted = vouched()
    if places and trusted is not None and HYDRA not in trusted:
        rule = "This saved config would have Hydra read, and maybe import, what lies elsewhere."
        raise ConfigError(
            Fault("hydra.searchpath", rule, places, fix="If you know it and trust it: --trust hydra")
        )


def check_defaults(primary: Any, complaint: str) -> None:
    """Refuse a saved config of which Hydra can make nothing, and whose defaults finesweep didn't write.

    Args:
        primary: the file's content, unresolved.
        complaint: Hydra's.

    Raises:
        ConfigError: it names other defaults.
    """
    defaults = primary.get("defaults") if isinstance(primary, dict) else None
    if defaults and defaults != HYDRA_SETTINGS["defaults"] and HYDRA not in (vouched() or ()):
        rule = f"This saved config has defaults that finesweep doesn't write: {' '.join(complaint.split())}"
        raise ConfigError(
            Fault("defaults", rule, defaults, fix="If you know them and trust them: --trust hydra")
        )


@cache
def _shipped_logging(key: str) -> tuple[Any, ...]:
    """Return what Hydra's own choices for a kind of logging say; finesweep's choose `none`."""
    folder = Path(hydra.__file__).parent / "conf" / "hydra" / key
    return tuple(OmegaConf.to_container(OmegaConf.load(file)) for file in folder.glob("*.yaml"))


def _resolved(config: DictConfig, key: str) -> Any:
    """Return plain values, or what stands there where that can't be resolved."""
    try:
        found = OmegaConf.select(config, key)
        return OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found
    except OmegaConfBaseException as error:
        return str(error).splitlines()[0]
