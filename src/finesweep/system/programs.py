"""finesweep's two commands as this user calls them: what is printed works when it is pasted."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from finesweep.system.paths import relative_to_here

SCRIPT = "train.py"


def train_words() -> list[str]:
    """Return `python train.py` where that was called, else `finesweep train`."""
    script = Path(sys.argv[0])
    return [_here("python"), str(script)] if script.name == SCRIPT else [*finesweep_words(), "train"]


def finesweep_words() -> list[str]:
    """Return `finesweep`; its place where a shell wouldn't find this environment's."""
    installed = Path(sys.executable).with_name("finesweep")
    return [_here("finesweep")] if installed.exists() else [_here("python"), "-m", "finesweep"]


def _here(program: str) -> str:
    """Return a program of this Python's environment: its name, if that is what a shell would start."""
    own, found = Path(sys.executable).with_name(program), shutil.which(program)
    if found and Path(found).absolute().parent == own.parent:
        return program
    return str(relative_to_here(own if own.exists() else Path(sys.executable)))
