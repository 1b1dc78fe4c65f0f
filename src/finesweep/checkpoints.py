"""Checkpoints that are known to be whole: sealed with a manifest, verified before they are used."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from pathlib import Path

from finesweep.errors import ConfigError, Fault
from finesweep.rundir import write_json

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
PREFIX = "checkpoint-"


def seal(folder: Path) -> None:
    """Bring a finished checkpoint to the disk, and write its manifest last: the SHA-256 of every file."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != MANIFEST)
    for file in files:
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
    write_json(folder / MANIFEST, {str(file.relative_to(folder)): _digest(file) for file in files})


def fault_of(folder: Path) -> str:
    """Say what is wrong with a checkpoint, or nothing when every file is as it was sealed."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        expected = dict(manifest.items())
    except FileNotFoundError:
        return "it was never finished"
    except (OSError, ValueError, AttributeError):
        return "its manifest is damaged"
    for name, digest in expected.items():
        file = folder / name
        if not file.is_file():
            return f"{name} is missing"
        if _digest(file) != digest:
            return f"{name} is damaged"
    return "" if expected else "its manifest is empty"


def newest_valid(folder: Path) -> Path | None:
    """Return the newest checkpoint that verifies; those passed over are logged with the reason."""
    for checkpoint in reversed(all_checkpoints(folder)):
        fault = fault_of(checkpoint)
        if not fault:
            return checkpoint
        logger.warning("Passed over %s: %s.", checkpoint.name, fault)
    return None


def given(folder: Path) -> Path:
    """Return a checkpoint that the user named, once it verifies.

    Raises:
        ConfigError: it isn't one of finesweep's, or is damaged.
    """
    folder = folder.expanduser()
    if fault := fault_of(folder):
        rule = f"This checkpoint can't be used: {fault}."
        fix = "Name a folder checkpoint-N that a run of finesweep has saved."
        raise ConfigError(Fault("trainer.resume_from_checkpoint", rule, str(folder), fix=fix))
    return folder


def all_checkpoints(folder: Path) -> list[Path]:
    """Return a run's checkpoints, oldest first."""
    return sorted((path for path in folder.glob(f"{PREFIX}*") if path.is_dir()), key=step_of)


def step_of(checkpoint: Path) -> int:
    """Return the optimizer step that a checkpoint was saved after."""
    return int(checkpoint.name.removeprefix(PREFIX))


def rotate(folder: Path, limit: int | None, best: Path | None) -> None:
    """Remove the oldest checkpoints beyond `limit`; the best one, and the newest, always stay.

    Args:
        folder: the checkpoints' folder.
        limit: how many to keep beside the best; None keeps all.
        best: the best checkpoint so far.
    """
    if limit is None:
        return
    others = [path for path in all_checkpoints(folder) if best is None or path.name != best.name]
    for checkpoint in others[: max(0, len(others) - max(1, limit))]:
        shutil.rmtree(checkpoint)


def _digest(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
