"""Weights & Biases: online where it can be, offline where not."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from finesweep.system.paths import typed
from finesweep.trackers.base import FINISH_TIMEOUT_S, RunInfo, State, safe_labels, safe_tags
from finesweep.trackers.wandb_access import Access, Mode, choose_access

logger = logging.getLogger(__name__)


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
        mode: Mode = "auto",
        group: str | None = None,
        job_type: str | None = None,
        tags: list[str] | None = None,
    ) -> None:
        self._mode: Mode = mode
        self._run: Any = None
        texts = {"project": project, "entity": entity, "group": group, "job_type": job_type}
        self._options: dict[str, Any] = {**safe_labels(texts), "tags": safe_tags(tags)}

    def load(self) -> None:
        """Do nothing: its import takes a second, and nothing that others look for comes with it."""

    def start(self, run: RunInfo) -> None:
        """Decide on the mode and open the W&B run."""
        import wandb

        access = choose_access(self._mode)
        arguments = {"dir": str(run.folder), "config": run.config, "resume": "allow", "reinit": "create_new"}
        arguments |= self._options
        if "WANDB_SWEEP_ID" in os.environ:  # W&B's agent has named the run, and where it belongs
            arguments |= dict.fromkeys(("project", "entity"))
        else:
            arguments |= {"id": run.run_id, "name": run.name}
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
            folder = typed(Path(self._run.dir).parent)
            logger.info("W&B offline (%s). To send it later: wandb sync %s", access.reason, folder)

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Send metrics with their optimizer step."""
        self._run.log(metrics, step=step)

    def finish(self, state: State) -> None:
        """End the W&B run as finished or failed; a pruned one is finished, and says so in its summary."""
        self._run.summary["state"] = state
        self._run.finish(exit_code=0 if state in ("complete", "pruned") else 1)

    def abandon(self) -> None:
        """Drop the connection to W&B's service process; the next run starts a new one."""
        import wandb

        wandb.teardown()


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
