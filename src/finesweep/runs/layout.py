"""The run folder: what lies where in it, its config and its status."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from finesweep.config.authorship import marked
from finesweep.config.saved import HYDRA_SETTINGS, SAVED_CONFIG_HEADER, to_yaml
from finesweep.errors import Fault, FinesweepError
from finesweep.system.files import write_status, write_text
from finesweep.system.folders import check_links
from finesweep.system.paths import typed, why_closed
from finesweep.system.presence import others
from finesweep.system.processes import is_gone
from finesweep.system.records import STATUS, DamagedFile, damaged, read_json
from finesweep.system.redaction import masked, redact
from finesweep.system.redaction.words import masked_words
from finesweep.system.sweep_folder import SweepFolder

NO_FOLDER = "No such folder."
STATES = ("running", "complete", "pruned", "interrupted", "failed", "open")
OF_SEVERAL = "of_several"  # in a sweep's status.json: who works on it says so in the folder `present`
GOES_ON = ("running", "interrupted", "open")  # of a sweep: whoever is there works on it


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
        self.written: dict[str, Any] | None = None  # in config.yaml, by this object
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
        parent = cls.check_place(output_dir, name)
        try:
            parent.mkdir(parents=True, exist_ok=True)
        except (PermissionError, FileExistsError, FileNotFoundError, NotADirectoryError) as error:
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

    @staticmethod
    def check_place(output_dir: str | Path, name: str) -> Path:
        """Return OUTPUT_DIR/runs/NAME, which is made with the first run.

        Raises:
            FinesweepError: no folder can be made there.
        """
        parent = Path(output_dir, "runs", name).absolute()
        if rule := why_closed(parent):
            raise FinesweepError(Fault("output_dir", rule, output_dir, fix="Set output_dir elsewhere."))
        return parent

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
        self.written = {**HYDRA_SETTINGS, **masked(config)}
        text = to_yaml(self.written)
        write_text(self.config, marked(SAVED_CONFIG_HEADER.format(folder=typed(self.path)) + text))
        write_text(self.overrides, to_yaml(masked_words(list(overrides))))

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

        A sweep, which several may work on, is `running` while any of them is there.

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
            if status["state"] in GOES_ON and others(SweepFolder(self.path).present):
                return "running"
            known = status.get("host", ""), status.get("pid", 0), status.get("time", "")
            is_cut_off = status["state"] == "running" and (status.get(OF_SEVERAL) or is_gone(*known))
            return "killed" if is_cut_off else status["state"]
        except (TypeError, ValueError):
            return "damaged"
