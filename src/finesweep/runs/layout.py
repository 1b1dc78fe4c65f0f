"""The run folder: its layout, its status, and writes that are whole or not there."""

from __future__ import annotations

import errno
import json
import math
import os
import secrets
import shlex
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from finesweep.errors import DiskFull, Fault, FinesweepError
from finesweep.system.folders import check_links
from finesweep.system.paths import cache_folder
from finesweep.system.process import is_gone
from finesweep.system.records import STATUS, DamagedFile, damaged, read_json, read_yaml
from finesweep.system.redaction import masked, redact
from finesweep.system.renamed import renamed

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
NO_FOLDER = "No such folder."
STATES = ("running", "complete", "pruned", "interrupted", "failed")
SAVED_CONFIG_HEADER = """\
# A run's complete config. Repeat the run and compare:  finesweep reproduce {folder}
# or run it again with changes:  python train.py --config-path {folder} --config-name config seed=1
"""
# Keeps Hydra from making folders of its own when this file is used as a primary config.
HYDRA_SETTINGS = {
    "defaults": ["_self_", {"override hydra/job_logging": "none"}, {"override hydra/hydra_logging": "none"}],
    "hydra": {"run": {"dir": "."}, "output_subdir": None, "job": {"chdir": False}},
}


class RunFolder:
    """One run's folder.

    Args:
        path: an existing folder.
        run_id: the tracker's run id; the folder's own name when left out.
        check_ours: raises RunTakenOver when another process goes on with the run; asked before anything is
            written that the other's would be lost by.
    """

    def __init__(self, path: Path, run_id: str = "", check_ours: Callable[[], None] = lambda: None) -> None:
        self.path = path
        self.run_id = run_id or path.name
        self.check_ours = check_ours
        self.config = path / "config.yaml"
        self.overrides = path / "overrides.yaml"
        self.provenance = path / "provenance.json"
        self.labels = path / "labels.json"
        self.splits = path / "splits.parquet"
        self.metrics = path / "metrics.jsonl"
        self.result = path / "result.json"
        self.status = path / "status.json"
        self.adapter = path / "adapter"
        self.backbone = path / "backbone"
        self.tokenizer = path / "tokenizer"
        self.checkpoints = path / "checkpoints"
        self.predictions = path / "predictions"
        self.log = path / "train.log"

    @classmethod
    def create(cls, output_dir: str | Path, name: str) -> RunFolder:
        """Make OUTPUT_DIR/runs/NAME/<time>-<id>; runs that start together get folders of their own.

        Raises:
            FinesweepError: the folder may not be written.
        """
        parent = Path(output_dir, "runs", name).absolute()
        try:
            parent.mkdir(parents=True, exist_ok=True)
        except (PermissionError, FileExistsError, NotADirectoryError) as error:
            rule = f"No folder can be made there: {error.strerror}."
            raise FinesweepError(
                Fault("output_dir", rule, output_dir, fix="Set output_dir elsewhere.")
            ) from error
        while True:
            stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
            path = parent / f"{stamp}-{secrets.token_hex(3)}"
            try:
                path.mkdir()
            except FileExistsError:
                continue
            return cls(path)

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Open the folder of an earlier run.

        Raises:
            FinesweepError: it is no run folder, or has links that lead out of it.
        """
        folder = cls(Path(path).expanduser().absolute())
        if not folder.config.is_file():
            missing = "A run folder holds the config.yaml that it ran with; this one doesn't."
            rule = missing if folder.path.is_dir() else NO_FOLDER
            raise FinesweepError(Fault(str(path), rule, fix="Finished runs are under outputs/runs/<name>/."))
        check_links(folder.path)
        return folder

    def write_config(self, config: dict[str, Any], overrides: Iterable[str]) -> None:
        """Write config.yaml, complete and usable as a primary config, and overrides.yaml, without secrets."""
        from finesweep.config.authorship import marked
        from finesweep.system.redaction.words import masked_words  # Hydra's grammar

        text = _yaml({**HYDRA_SETTINGS, **masked(config)})
        write_text(self.config, marked(SAVED_CONFIG_HEADER.format(folder=typed(self.path)) + text))
        write_text(self.overrides, _yaml(masked_words(list(overrides))))

    def write_status(self, state: str, reason: str = "", **details: Any) -> None:
        """Write status.json: running, complete, pruned, interrupted or failed, and why.

        Raises:
            RunTakenOver: it is another process's to say.
        """
        self.check_ours()
        status = {"state": state, "reason": redact(reason), "host": socket.gethostname(), "pid": os.getpid()}
        status |= {"time": datetime.now(UTC).isoformat(timespec="seconds"), **details}
        write_status(self.status, status)

    def read_status(self) -> dict[str, Any]:
        """Read status.json."""
        return read_json(self.status, STATUS)

    def sound_state(self) -> str:
        """Return the state.

        Raises:
            DamagedFile: status.json is missing, or has no state that there is.
        """
        state = self.state()
        if state in ("unknown", "damaged"):
            why = "missing" if state == "unknown" else "damaged: it has no state that there is"
            raise damaged(self.status, why)
        return state

    def state(self) -> str:
        """Return status.json's state; `killed` where it says `running` and the process is no more.

        `unknown` where the file isn't there, `damaged` where it can't be read or says something else.
        """
        if not self.status.is_file():
            return "unknown"
        try:
            status = self.read_status()
        except (DamagedFile, OSError):
            return "damaged"
        if status["state"] not in STATES:
            return "damaged"
        try:
            known = status.get("host", ""), status.get("pid", 0), status.get("time", "")
            return "killed" if status["state"] == "running" and is_gone(*known) else status["state"]
        except (TypeError, ValueError):
            return "damaged"


def read_config(path: Path) -> dict[str, Any]:
    """Read a saved config, its targets under their names of today, without the lines that are for Hydra."""
    content = renamed(read_yaml(path))
    return {str(key): value for key, value in content.items() if key not in HYDRA_SETTINGS}


def write_text(path: Path, text: str) -> None:
    """Write a file whole: to a temporary name, to the disk, then into place.

    Secrets are masked in the values that the text is made from: here it would be too late to keep it valid.
    """
    staging = _beside(path)
    try:
        with staging.open("x", encoding="utf-8") as file:
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
    staging.mkdir()
    try:
        fill(staging)
        for file in staging.rglob("*"):
            if file.is_file() and not file.is_symlink():
                with file.open("rb") as handle:
                    os.fsync(handle.fileno())
        if path.exists():  # left by a run that was cut off after it
            shutil.rmtree(path)
        os.replace(staging, path)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


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
    disk = _disk_of(folder)
    if _free(disk) >= LITTLE_SPACE:
        others = map(_disk_of, (cache_folder(), Path(tempfile.gettempdir())))
        disk = next((other for other in others if _free(other) < LITTLE_SPACE), disk)
    rule = f"The disk is full ({disk}, {_free(disk) / 2**20:.1f} MiB free): {lost}."
    fix = "Free some space, or set output_dir to another disk."
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


def _yaml(content: Any) -> str:
    return OmegaConf.to_yaml(OmegaConf.create(content))


def relative_to_here(path: Path) -> Path:
    """Shorten a path that lies under the working folder."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def typed(path: Path) -> str:
    """Return a path as one types it in a shell here."""
    return shlex.quote(str(relative_to_here(path)))
