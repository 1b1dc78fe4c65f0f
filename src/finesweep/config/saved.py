"""What a config is on disk: written without what the environment supplies, read without Hydra's lines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.resolvers import oc

from finesweep.config.hydra_versions import without_environment
from finesweep.config.omegaconf_insides import Dumper, bound_interpolations
from finesweep.config.origin import Origin
from finesweep.config.resolution import resolve
from finesweep.system.records import read_yaml
from finesweep.system.redaction.names import is_secret_name
from finesweep.system.renamed import renamed

SAVED_CONFIG_HEADER = """\
# A run's complete config. Repeat the run and compare:  finesweep reproduce {folder}
# or run it again with changes:  python train.py --config-path {folder} --config-name config seed=1
"""
# Keeps Hydra from making folders of its own when this file is used as a primary config.
HYDRA_SETTINGS = {
    "defaults": ["_self_", {"override hydra/job_logging": "none"}, {"override hydra/hydra_logging": "none"}],
    "hydra": {"run": {"dir": "."}, "output_subdir": None, "job": {"chdir": False}},
}
# Where a run writes, who watches, and how it goes on: configs that differ in these alone are one.
CIRCUMSTANCES = ("name", "output_dir", "threads", "tracker", "resume", "test", "baseline")


def read_config(path: Path) -> dict[str, Any]:
    """Read a saved config, its targets under their names of today, without the lines that are for Hydra."""
    bound_interpolations()
    content = renamed(read_yaml(path))
    return {str(key): value for key, value in content.items() if key not in HYDRA_SETTINGS}


def to_yaml(content: Any) -> str:
    """Return plain values as YAML, interpolations kept."""
    is_plain = _is_plain(content)  # what a sweep's trials save is, and OmegaConf takes its time with it
    plain = content if is_plain else OmegaConf.to_container(OmegaConf.create(content), enum_to_str=True)
    return yaml.dump(plain, default_flow_style=False, allow_unicode=True, sort_keys=False, Dumper=Dumper)


def _is_plain(content: Any) -> bool:
    if type(content) is dict:
        return all(type(key) is str and _is_plain(child) for key, child in content.items())
    if type(content) is list:
        return all(map(_is_plain, content))
    return content is None or type(content) in (str, int, float, bool)


def saved_config(config: DictConfig) -> dict[str, Any]:
    """Return a config as it is written to disk: resolved, but for what the environment or the seed supplies.

    A value that comes from `${oc.env:...}` may be a secret; one that comes from `${seed}` has to change with
    the seed when the config is used again. Their interpolations are kept.
    """
    raw: Any = OmegaConf.to_container(config, resolve=False)
    saved = resolve(config, "", Origin(), [])
    text = str(raw)
    if "oc.env" in text:
        with without_environment(_elsewhere):
            saved = _keep_raw_where_different(raw, saved, resolve(config, "", Origin(), []))
    if "${seed}" in text:
        reseeded = OmegaConf.create({**raw, "seed": config["seed"] + 1})
        saved = _keep_raw_where_different(raw, saved, resolve(reseeded, "", Origin(), []))
    return saved


def _elsewhere(name: str, *default: str) -> Any:
    """Answer `${oc.env:...}` as another machine would.

    With a variable that isn't set, a default was typed: beside a secret's name it may be one.
    """
    return "\uffffelsewhere" if name in os.environ or is_secret_name(name) else oc.env(name, *default)


def _keep_raw_where_different(raw: Any, here: Any, elsewhere: Any) -> Any:
    if here == elsewhere:
        return here
    if isinstance(raw, dict) and isinstance(elsewhere, dict):
        return {key: _keep_raw_where_different(raw[key], here[key], elsewhere[key]) for key in raw}
    if isinstance(raw, list) and isinstance(elsewhere, list):
        return [_keep_raw_where_different(*values) for values in zip(raw, here, elsewhere, strict=True)]
    return raw
