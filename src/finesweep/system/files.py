"""Files and folders that are written whole or not at all, and disks that are full."""

from __future__ import annotations

import errno
import json
import math
import os
import pickle
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from finesweep.errors import DiskFull, Fault, TrainingError
from finesweep.system.places import cache_folder

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
FULL_DISK_WORDS = (
    "No space left on device",
    "os error 28",
    "Disk quota exceeded",
    "os error 122",
    "database or disk is full",
)
# What SQLite and torch say of a full disk, and of other things too.
VAGUE_WORDS = ("disk I/O error", "PytorchStreamWriter failed writing", "unexpected pos")
LITTLE_SPACE = 32 * 2**20


def write_text(path: Path, text: str) -> None:
    """Write a file whole: to a temporary name, to the disk, then into place.

    Secrets are masked in the values that the text is made from: here it would be too late to keep it valid.
    """
    staging = _beside(path)
    try:
        with staging.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(staging, path)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise


def finite(value: Any) -> Any:
    """Replace NaN and infinity, for which JSON has no word, by None, however deep they are."""
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_status(path: Path, content: dict[str, Any]) -> None:
    """Write a status.json; over an old one on a full disk too: in place, where its block is enough."""
    text = json.dumps(content, indent=2) + "\n"
    try:
        write_text(path, text)
    except OSError as error:
        if error.errno not in NO_SPACE or not path.exists():
            raise
        with path.open("r+", encoding="utf-8") as file:
            file.write(text)
            file.truncate()


def write_json(path: Path, content: Any) -> None:
    """Write plain values as JSON, whole or not at all."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_folder(path: Path, fill: Any) -> None:
    """Let `fill` write a folder beside its place, and move it there whole.

    Args:
        path: the folder to make; it may not exist.
        fill: is called with the folder to write into.
    """
    staging = _beside(path)
    try:
        staging.mkdir()  # in here, since a Ctrl-C may come before it returns
        fill(staging)
        for file in staging.rglob("*"):
            if file.is_file() and not file.is_symlink():
                as_umask_says(file)
                bring_to_disk(file)
        if path.exists():  # left by a run that was cut off after it
            shutil.rmtree(path)
        os.replace(staging, path)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def as_umask_says(file: Path) -> None:
    """Give a file the mode that one made plainly beside it would have: safetensors makes private ones."""
    if sys.platform != "win32":
        file.chmod(file.parent.stat().st_mode & 0o666)


def bring_to_disk(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk."""
    access = os.O_RDONLY
    if sys.platform == "win32":  # opens no folder, and brings to the disk only what is open for writing
        if path.is_dir():
            return
        access = os.O_RDWR
    descriptor = os.open(path, access)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def disk_full_error(error: BaseException, folder: Path) -> DiskFull | None:
    """Recognise a full disk behind an error; torch, safetensors and SQLite have words of their own."""
    links = chain_of(error)
    said = [link for link in links if isinstance(link, DiskFull)]
    if said:
        return said[0]
    is_full = any(isinstance(link, OSError) and link.errno in NO_SPACE for link in links)
    texts = [str(link) for link in links]
    is_full = is_full or any(word in text for text in texts for word in FULL_DISK_WORDS)
    if not is_full and any(word in text for text in texts for word in VAGUE_WORDS):
        is_full = _free(_disk_of(folder)) < LITTLE_SPACE
    return disk_full(folder) if is_full else None


def disk_full(folder: Path, lost: str = "the run could not be saved") -> DiskFull:
    """Say that the disk is full where a folder is, or where temporary files and the cache are.

    Args:
        folder: of the run or the sweep.
        lost: what that has led to.
    """
    disk, setting = _disk_of(folder), "output_dir"
    if _free(disk) >= LITTLE_SPACE:
        others = (("FINESWEEP_CACHE", cache_folder()), ("TMPDIR", Path(tempfile.gettempdir())))
        full = ((name, _disk_of(place)) for name, place in others)
        setting, disk = next((one for one in full if _free(one[1]) < LITTLE_SPACE), (setting, disk))
    rule = f"The disk is full ({disk}, {_free(disk) / 2**20:.1f} MiB free): {lost}."
    fix = f"Free some space, or set {setting} to another disk."
    return DiskFull(Fault(str(folder), rule, fix=fix))


def chain_of(error: BaseException | None) -> list[BaseException]:
    """Return an error and those that it came from."""
    links: list[BaseException] = []
    while error and error not in links:
        links.append(error)
        error = error.__cause__ or error.__context__
    return links


def _disk_of(path: Path) -> Path:
    """Return where the disk is mounted that a path is on."""
    return next(place for place in (path.absolute(), *path.absolute().parents) if os.path.ismount(place))


def _free(place: Path) -> int:
    return shutil.disk_usage(place).free


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}-{secrets.token_hex(4)}")


@contextmanager
def numbers_alone(place: Path) -> Iterator[None]:
    """Say so where something in a folder is a pickle that would call what is no part of weights or states.

    Raises:
        TrainingError: it would; it was not run.
    """
    try:
        yield
    except pickle.UnpicklingError as error:
        rule = "Something in it is no numbers, and could run code; it was not run."
        fix = "Whoever wrote it may mean no good: don't use this folder."
        raise TrainingError(Fault(str(place), rule, fix=fix)) from error
