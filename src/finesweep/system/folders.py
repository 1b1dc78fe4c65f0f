"""Folders that somebody else may have filled: no link in them leads out."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from finesweep.errors import Fault, FinesweepError

# Where a run keeps links to the weights that its adapter stands on.
BACKBONE, WEIGHTS = "backbone", ".safetensors"
# W&B's own link to the log of its service: it makes one for each of its runs, and writes through none.
WANDB, WANDB_LOG = "wandb", "debug-core.log"


def check_links(folder: Path) -> None:
    """Refuse a run's or sweep's folder with a link that leads out of it, through which one would write there.

    The links to a backbone's weights are finesweep's own: they are read as weights, and never written.

    Raises:
        FinesweepError: each such link.
    """
    root = folder.resolve()
    rule = "It is a link out of this folder; what is written there would land elsewhere."
    faults = [
        Fault(str(path), rule, os.readlink(path), fix="If it is yours, put what it names in its place.")
        for path in _links(root)
        if not path.resolve().is_relative_to(root) and not _is_backbone(path) and not _is_wandb(path)
    ]
    if faults:
        raise FinesweepError(*faults)


def make_empty(folder: Path) -> None:
    """Make a folder with nothing in it, in the place of whatever was there."""
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)


def _links(root: Path) -> list[Path]:
    found = []
    for place, folders, files in os.walk(root):
        found += [path for name in (*folders, *files) if (path := Path(place, name)).is_symlink()]
    return found


def _is_wandb(path: Path) -> bool:
    return path.name == WANDB_LOG and path.parent.name == "logs" and path.parents[2].name == WANDB


def _is_backbone(path: Path) -> bool:
    return path.parent.name == BACKBONE and path.suffix == WEIGHTS and path.resolve().suffix == WEIGHTS
