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
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from finesweep.redaction import redact
from finesweep.rundir import relative_to_here
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

    def abandon(self) -> None:
        """Let go of a sink that broke, so that nothing of it stirs later."""
        ...


class NoTracker:
    """Track nothing; metrics.jsonl has everything."""

    def start(self, run: RunInfo) -> None:
        """Do nothing."""

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Do nothing."""

    def finish(self, *, succeeded: bool) -> None:
        """Do nothing."""

    def abandon(self) -> None:
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
        texts = {"project": project, "entity": entity, "group": group, "job_type": job_type}
        self._options: dict[str, Any] = {name: text and redact(text) for name, text in texts.items()}
        self._options["tags"] = [redact(tag) for tag in tags or ()]

    def start(self, run: RunInfo) -> None:
        """Decide on the mode and open the W&B run."""
        import wandb

        access = self._choose_access()
        arguments = {"id": run.run_id, "name": run.name, "dir": str(run.folder), "config": run.config}
        arguments |= {"resume": "allow", "reinit": "create_new", **self._options}
        try:
            self._run = wandb.init(mode=access.mode, settings=_settings(access), **arguments)
        except wandb.Error as error:
            if access.mode == "offline":
                raise
            wandb.teardown()  # the failed attempt keeps the run id in use
            access = Access("offline", str(error).splitlines()[0])
            self._run = wandb.init(mode=access.mode, settings=_settings(access), **arguments)
        if access.mode == "online":
            logger.info("W&B online: %s", self._run.url)
        else:
            folder = relative_to_here(Path(self._run.dir).parent)
            logger.info("W&B offline (%s). To send it later: wandb sync %s", access.reason, folder)

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Send metrics with their optimizer step."""
        self._run.log(metrics, step=step)

    def finish(self, *, succeeded: bool) -> None:
        """End the W&B run as finished or failed."""
        self._run.finish(exit_code=0 if succeeded else 1)

    def abandon(self) -> None:
        """Drop the connection to W&B's service process; the next run starts a new one."""
        import wandb

        wandb.teardown()

    def _choose_access(self) -> Access:
        if self._mode == "offline":
            return Access("offline", "tracker.mode=offline")
        base_url = _base_url()
        key = os.environ.get("WANDB_API_KEY") or _key_from_netrc(base_url)
        if self._mode == "online":
            return Access("online", "tracker.mode=online", base_url, key)
        if os.environ.get("WANDB_MODE") in ("offline", "disabled", "dryrun"):
            return Access("offline", "WANDB_MODE")
        problem = _probe(base_url, key) if key else "no API key"
        return Access("offline", problem) if problem else Access("online", "", base_url, key)


@dataclass(frozen=True)
class Access:
    """How W&B is used, and why; where and with which key when online."""

    mode: Literal["online", "offline"]
    reason: str
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)


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

    def close(self, *, succeeded: bool, timeout: float | None = None) -> bool:
        """Finish, or go on without after `timeout` seconds; return whether it got done."""
        timeout = FINISH_TIMEOUT_S if timeout is None else timeout
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
                with suppress(Exception):  # it is broken, and that has been said
                    self._tracker.abandon()


def _settings(access: Access) -> Any:
    import wandb

    # Explicit, since W&B reads the environment once for all runs of a process.
    server: dict[str, Any] = {"base_url": access.base_url, "api_key": access.api_key}
    return wandb.Settings(
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
        **{name: value for name, value in server.items() if value},
    )


def _base_url() -> str:
    if "WANDB_BASE_URL" in os.environ:
        return os.environ["WANDB_BASE_URL"].rstrip("/")
    import wandb

    return wandb.Settings().base_url.rstrip("/")


def _key_from_netrc(base_url: str) -> str | None:
    """Look `wandb login`'s key up; keys of W&B's own service may still be filed under its older host name."""
    try:
        entries = netrc.netrc(os.environ.get("NETRC"))
    except (OSError, netrc.NetrcParseError):  # no netrc file, or one that isn't for us to judge
        return None
    host = urllib.parse.urlsplit(base_url).hostname or ""
    hosts = [host] if "WANDB_BASE_URL" in os.environ else [host, "api.wandb.ai"]
    found = (entries.authenticators(name) for name in hosts)
    return next((entry[2] for entry in found if entry), None)


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
