"""Experiment trackers: monitors that send a run elsewhere, and can never break it."""

from __future__ import annotations

import base64
import json
import logging
import netrc
import os
import queue
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from finesweep.redaction import redact
from finesweep.training.base import Decision, Monitor

logger = logging.getLogger(__name__)

PROBE_TIMEOUT_S = 4
FINISH_TIMEOUT_S = 60


@dataclass(frozen=True)
class RunInfo:
    """What a tracker is told about a run.

    Args:
        run_id: the run folder's name.
        name: the run's name.
        folder: the run folder; a tracker may keep files of its own in it.
        config: the saved config, without resolved secrets.
    """

    run_id: str
    name: str
    folder: Path
    config: dict[str, Any]


class Tracker(Protocol):
    """A sink for metrics. Its methods may block or raise; `Background` shields the run from both."""

    def start(self, run: RunInfo) -> None:
        """Open the sink."""
        ...

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Send metrics."""
        ...

    def finish(self, *, succeeded: bool) -> None:
        """Close the sink with the run's outcome."""
        ...


class NoTracker:
    """Track nothing; metrics.jsonl has everything."""

    def start(self, run: RunInfo) -> None:
        """Do nothing."""

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Do nothing."""

    def finish(self, *, succeeded: bool) -> None:
        """Do nothing."""


class WandbTracker:
    """Log to Weights & Biases.

    Args:
        project: the W&B project.
        entity: user or team; W&B's default when None.
        mode: `online`, `offline`, or `auto`: online when there is a key and a host that accepts it.
        group: puts several runs together.
        job_type: what kind of run it is.
        tags: for filtering.
    """

    def __init__(
        self,
        *,
        project: str,
        entity: str | None = None,
        mode: Literal["auto", "online", "offline"] = "auto",
        group: str | None = None,
        job_type: str | None = None,
        tags: list[str] | None = None,
    ) -> None:
        self._mode = mode
        self._run: Any = None
        self._options = {
            "project": project,
            "entity": entity,
            "group": group,
            "job_type": job_type,
            "tags": [redact(tag) for tag in tags or ()],
        }

    def start(self, run: RunInfo) -> None:
        """Decide on the mode and open the W&B run."""
        import wandb

        mode, reason = self._choose_mode()
        settings = wandb.Settings(
            console="off",
            silent=True,
            disable_git=True,
            disable_code=True,
            disable_job_creation=True,
            init_timeout=20,
            finish_timeout=FINISH_TIMEOUT_S / 2,
            x_disable_stats=True,
            x_disable_meta=True,  # it would hold the command line, and with it what was typed there
            x_save_requirements=False,
        )
        arguments = {"id": run.run_id, "name": run.name, "dir": str(run.folder), "config": run.config}
        arguments |= {"resume": "allow", "reinit": "create_new", "settings": settings, **self._options}
        try:
            self._run = wandb.init(mode=mode, **arguments)
        except wandb.Error as error:
            if mode == "offline":
                raise
            mode, reason = "offline", str(error).splitlines()[0]
            self._run = wandb.init(mode=mode, **arguments)
        if mode == "online":
            logger.info("W&B online: %s", self._run.url)
        else:
            logger.info(
                "W&B offline (%s). To send it later: wandb sync %s", reason, Path(self._run.dir).parent
            )

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Send metrics with their optimizer step."""
        self._run.log(metrics, step=step)

    def finish(self, *, succeeded: bool) -> None:
        """End the W&B run as finished or failed."""
        self._run.finish(exit_code=0 if succeeded else 1)

    def _choose_mode(self) -> tuple[Literal["online", "offline"], str]:
        if self._mode != "auto":
            return self._mode, "tracker.mode=offline"
        if os.environ.get("WANDB_MODE") in ("offline", "disabled", "dryrun"):
            return "offline", "WANDB_MODE"
        base_url = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").rstrip("/")
        key = os.environ.get("WANDB_API_KEY") or _key_from_netrc(base_url)
        if not key:
            return "offline", "no API key"
        problem = _probe(base_url, key)
        return ("offline", problem) if problem else ("online", "")


class Background(Monitor):
    """Run a tracker in a thread of its own, so that it can neither delay a run nor fail it.

    Args:
        tracker: its first error is logged once, and nothing more is sent to it.
        run: is passed to the tracker's `start`.
    """

    def __init__(self, tracker: Tracker, run: RunInfo) -> None:
        self._tracker = tracker
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="tracker", daemon=True)
        self._calls.put(lambda: tracker.start(run))
        self._thread.start()

    def on_log(self, step: int, metrics: dict[str, float]) -> None:
        """Queue the metrics."""
        self._calls.put(lambda: self._tracker.log(step, dict(metrics)))

    def on_evaluate(self, step: int, metrics: dict[str, float]) -> Decision:
        """Queue the metrics."""
        self.on_log(step, metrics)
        return Decision.CONTINUE

    def close(self, *, succeeded: bool, timeout: float = FINISH_TIMEOUT_S) -> bool:
        """Finish, or go on without after `timeout` seconds; return whether it got done."""
        self._calls.put(lambda: self._tracker.finish(succeeded=succeeded))
        self._calls.put(None)
        self._thread.join(timeout)
        if self._thread.is_alive():
            logger.warning("The tracker didn't finish in %.0f s; the run's own files are complete.", timeout)
        return not self._thread.is_alive()

    def _work(self) -> None:
        broken = False
        while (call := self._calls.get()) is not None:
            if broken:
                continue
            try:
                call()
            except BaseException as error:  # whatever a tracker does wrong is its own affair
                broken = True
                what = f"{type(error).__name__}: {error}".splitlines()[0]
                logger.warning("The tracker stopped working (%s); the run goes on without it.", what)


def _key_from_netrc(base_url: str) -> str | None:
    try:
        entry = netrc.netrc().authenticators(urllib.parse.urlsplit(base_url).hostname or "")
    except (OSError, netrc.NetrcParseError):  # no netrc file, or one that isn't for us to judge
        return None
    return entry[2] if entry else None


def _probe(base_url: str, key: str) -> str:
    """Ask the host who the key belongs to; return what is wrong, or nothing."""
    body = json.dumps({"query": "query Viewer { viewer { id } }"}).encode()
    credentials = base64.b64encode(f"api:{key}".encode()).decode()
    headers = {"Content-Type": "application/json", "Authorization": f"Basic {credentials}"}
    request = urllib.request.Request(f"{base_url}/graphql", data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=PROBE_TIMEOUT_S) as response:
            answer = json.load(response)
    except urllib.error.HTTPError as error:
        refused = error.code in (401, 403)
        return f"{base_url} refuses the API key" if refused else f"{base_url} answers {error.code}"
    except (OSError, ValueError) as error:
        return f"{base_url} doesn't answer ({type(error).__name__})"
    accepted = isinstance(answer, dict) and (answer.get("data") or {}).get("viewer")
    return "" if accepted else f"{base_url} doesn't know the API key"
