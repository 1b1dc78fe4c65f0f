"""Where finesweep's own files lie: its configs, and what it can compute again."""

from __future__ import annotations

import os
from pathlib import Path

NO_HOME = Path("/nonexistent")  # the home of users without one, as Debian has it
PRIMARY = "train"  # the config that a command line is composed from: conf/train.yaml


def config_folder() -> Path:
    """Find `conf/`: inside the installed package, or at the root of a clone."""
    packaged = Path(__file__).parents[1] / "conf"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "conf"


def cache_folder() -> Path:
    """Name the folder for what can be computed again: FINESWEEP_CACHE, or ~/.cache/finesweep."""
    default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "finesweep")
    place = Path(os.environ.get("FINESWEEP_CACHE", default))
    try:
        return place.expanduser()
    except RuntimeError:  # nobody knows where the home is: a container's user, who has no name either
        return NO_HOME.joinpath(*place.parts[1:])
