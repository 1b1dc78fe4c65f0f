"""The paths of a config, bound to the folder where they were typed: one file from everywhere."""

from __future__ import annotations

import copy
import glob
import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from finesweep.config.resolution import written
from finesweep.config.saved import read_config
from finesweep.config.trust import is_own_work
from finesweep.errors import Fault, FinesweepError
from finesweep.metrics.own import EVALUATE
from finesweep.runs.layout import RunFolder
from finesweep.system.override_words import key_of
from finesweep.system.paths import PACKAGE_SCHEME
from finesweep.system.records import read_json, read_yaml
from finesweep.system.signatures import TargetError, signature_of
from finesweep.system.sweep_folder import SweepFolder

CALLED_IN = "called_in"  # in provenance.json and in a sweep's manifest
# Of W&B (where to send the key of its account) and matplotlib, which look for them where one works.
LIBRARY_SETTINGS = ("wandb/settings", ".wandb/settings", "matplotlibrc")
OWN_PACKAGE = "finesweep."  # whose signatures say which of their arguments are paths
FILE_URL = re.compile(r"((?:sqlite|duckdb)(?:\+\w+)?:///)(?!/|:memory:|file:)([^?]+)(.*)", re.DOTALL)
PYTHON_FILE = re.compile(r"(.+\.py):(\w+)")


def anchored(config: DictConfig, folder: Path, skip: Collection[str] = ()) -> DictConfig:
    """Return a config whose relative input paths are absolute.

    Those are the arguments that finesweep's own targets call paths, a model or a data set that is a folder, a
    file with a function, a database that is a file. What comes from the environment stays as it is.

    Args:
        config: a composed config.
        folder: what its paths are relative to.
        skip: keys that stay as they are, with what is below them.
    """
    found = copy.deepcopy(config)
    places = [place for place in _paths(found) if not _is_below(place[0], skip)]
    for is_interpolated in (False, True):  # which may name another path
        for _, node, name, marker in places:
            if OmegaConf.is_interpolation(node, name) == is_interpolated:
                _anchor(node, name, marker, folder)
    return found


def home_of(folder: Path) -> Path | None:
    """Return where the command was called that left the folder of a run or a sweep; None where that is gone.

    Folders from before it was recorded say so by where they lie, if their `output_dir` is relative.
    """
    run, manifest = RunFolder(folder), SweepFolder(folder).manifest
    record = read_json(run.provenance) if run.provenance.is_file() else _sweep_record(manifest)
    if CALLED_IN in record:
        home = Path(record[CALLED_IN])
        return home if home.is_dir() else None
    config = read_config(run.config) if run.config.is_file() else record.get("config", {})
    output_dir = config.get("output_dir")
    if not isinstance(output_dir, str) or os.path.isabs(output_dir):
        return None
    outputs = Path(output_dir)
    return next((home for home in folder.parents if folder.is_relative_to(home / outputs)), None)


def anchored_saved(config: DictConfig, folder: Path, overrides: Collection[str] = ()) -> DictConfig:
    """Return a saved config whose paths are those of the run that left it, but for what was typed now.

    Args:
        config: composed of a folder's config and the overrides.
        folder: of the run or the sweep.
        overrides: whose paths are relative to the working folder.
    """
    typed = set(map(key_of, overrides))
    saved = anchored(config, home_of(folder) or Path.cwd(), skip=typed)
    return anchored(saved, Path.cwd())


@contextmanager
def working_in(folder: Path | None) -> Iterator[None]:
    """Work in a folder for a while; where it isn't known or is gone, stay.

    Raises:
        FinesweepError: libraries would find settings there that a stranger may have written.
    """
    before = Path.cwd()
    if folder is not None and folder.is_dir():
        if folder.resolve() != before.resolve() and not is_own_work():
            _check_settings(folder)
        os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _check_settings(folder: Path) -> None:
    found = [folder / name for name in LIBRARY_SETTINGS if (folder / name).exists()]
    if found:
        rule = "What was saved was called there, and a library would read its settings from this file."
        fix = "Put it away, or copy the run's folder to where there is none."
        raise FinesweepError(*(Fault(str(file), rule, fix=fix) for file in found))


def _sweep_record(path: Path) -> dict[str, Any]:
    content = read_yaml(path) if path.is_file() else {}
    return {str(key): value for key, value in content.items()} if isinstance(content, dict) else {}


def _paths(config: DictConfig) -> Iterator[tuple[str, DictConfig | ListConfig, Any, str]]:
    """Give the key, the node, the name in it and the marker of each path of a config."""
    for key, node in _targets(config):
        if node["_target_"] == EVALUATE:
            if "path" in node:
                yield f"{key}.path", node, "path", "evaluate-module"
            continue
        try:
            parameters = signature_of(str(node["_target_"])).parameters
        except TargetError:
            continue  # which `check` reports
        for name, parameter in parameters.items():
            if not parameter.marker or name not in node:
                continue
            value = None if OmegaConf.is_interpolation(node, name) else node[name]
            if isinstance(value, ListConfig):
                yield from ((f"{key}.{name}", value, place, parameter.marker) for place in range(len(value)))
            else:
                yield f"{key}.{name}", node, name, parameter.marker


def _targets(config: DictConfig) -> Iterator[tuple[str, DictConfig]]:
    """Give finesweep's own targets, and evaluate's: to ask another's signature would be to import it."""
    written: Any = OmegaConf.to_container(config, resolve=False)  # to walk through nodes takes far longer
    for path in _target_paths(written):
        node: Any = config
        for name in path:
            node = node[name]
        if "_target_" in node and str(node["_target_"]).startswith((OWN_PACKAGE, EVALUATE)):
            yield "".join(f"[{name}]" if isinstance(name, int) else f".{name}" for name in path)[1:], node


def _target_paths(written: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Give where targets are, but for what an interpolation stands for."""
    if isinstance(written, dict) and "_target_" in written:
        yield path
    children = written.items() if isinstance(written, dict) else enumerate(written)
    for name, child in children:
        if isinstance(child, dict | list):
            yield from _target_paths(child, (*path, name))


def _is_below(key: str, keys: Collection[str]) -> bool:
    return any(f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.") for other in keys)


def _anchor(node: DictConfig | ListConfig, name: Any, marker: str, folder: Path) -> None:
    text = written(node, name)
    if not isinstance(text, str) or "oc.env" in text or OmegaConf.is_missing(node, name):
        return
    try:
        value = str(node[name])
    except OmegaConfBaseException:
        return  # which `check` reports
    bound = _bound(value, marker, folder)
    if bound is not None and bound.endswith(value):
        node[name] = bound.removesuffix(value) + text  # an interpolation still follows what it names
    elif bound is not None and text == value:
        node[name] = bound


def _bound(value: str, marker: str, folder: Path) -> str | None:
    """Return a value with its path made absolute; None where it has none that is relative."""
    if marker == "database-url":
        url = FILE_URL.fullmatch(value)
        return f"{url[1]}{folder / url[2]}{url[3]}" if url else None
    if marker == "python-function":
        function = PYTHON_FILE.fullmatch(value)
        file = _bound(function[1], "input-path", folder) if function else None
        return f"{file}:{function[2]}" if function and file else None
    if value.startswith((PACKAGE_SCHEME, "~", "/")) or os.path.isabs(value):
        return None
    if os.path.exists(folder / value):
        return str(folder / value)
    if marker != "input-path":  # a name of the hub's
        return None
    is_here = folder == Path.cwd()
    if glob.has_magic(value):
        pattern = os.path.join(glob.escape(str(folder)), value)
        return None if is_here and not glob.glob(pattern, recursive=True) else pattern
    return None if is_here else str(folder / value)  # a message names what was typed
