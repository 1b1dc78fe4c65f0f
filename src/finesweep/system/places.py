"""Where finesweep's own files lie: its configs, and what it can compute again."""

from __future__ import annotations

import os
from pathlib import Path

PRIMARY = "train"  # the config that a command line is composed from: conf/train.yaml


def config_folder() -> Path:
    """Find `conf/`: inside the installed package, or at the root of a clone."""
    packaged = Path(__file__).parents[1] / "conf"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "conf"


def cache_folder() -> Path:
    """Name the folder for what can be computed again: FINESWEEP_CACHE, or ~/.cache/finesweep."""
    default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "finesweep")
    return Path(os.environ.get("FINESWEEP_CACHE", default)).expanduser()
