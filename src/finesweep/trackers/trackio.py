"""Trackio: Hugging Face's local dashboard."""

from __future__ import annotations

import importlib
import logging
import os
from pathlib import Path
from typing import Any

from finesweep.system.paths import relative_to_here
from finesweep.system.redaction import redact_label
from finesweep.trackers.base import RunInfo, State, safe_labels

logger = logging.getLogger(__name__)


class TrackioTracker:
    """Log to a local Trackio project.

    Args:
        folder: where its database is, unless TRACKIO_DIR says.
        project: the Trackio project.
        group: puts several runs together.
        job_type: what kind of run it is: a part of its config.
    """

    package = "trackio"

    def __init__(
        self, *, folder: str, project: str, group: str | None = None, job_type: str | None = None
    ) -> None:
        self._folder = Path(folder).absolute()
        self._project = redact_label(project)
        self._labels = safe_labels({"group": group, "job_type": job_type})
        self._run: Any = None

    def load(self) -> None:
        """Import Trackio, which reads its folder from the environment once, and quieten it."""
        os.environ.setdefault("TRACKIO_DIR", str(self._folder))
        for name in ("trackio", "trackio.run", "trackio.utils"):
            vars(importlib.import_module(name))["print"] = _say_nothing

    def start(self, run: RunInfo) -> None:
        """Begin the Trackio run, or go on with it: there, a run's name is its identity."""
        import trackio
        from trackio.utils import TRACKIO_DIR

        name = run.name if run.run_id == run.name else f"{run.name}-{run.run_id}"
        config = {**run.config, "job_type": self._labels["job_type"]}
        # No Space, no system metrics, no page in a notebook: the numbers alone.
        self._run = trackio.init(
            project=self._project, name=name, group=self._labels["group"], config=config, resume="allow",
            embed=False, auto_log_gpu=False, auto_log_cpu=False,
        )  # fmt: skip
        place = relative_to_here(Path(TRACKIO_DIR).absolute())
        logger.info("Trackio: TRACKIO_DIR=%s trackio show --project %s", place, self._project)

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Send metrics with their optimizer step."""
        self._run.log(dict(metrics), step=step)

    def finish(self, state: State) -> None:
        """Write what is left; Trackio knows no states, so a failed run leaves an alert."""
        if state == "failed":
            self._run.alert("The run failed.")
        self._run.finish()

    def abandon(self) -> None:
        """Write what is left."""
        if self._run is not None:
            self._run.finish()


def _say_nothing(*_: Any, **__: Any) -> None:
    """Stand in for the `print` with which Trackio tells the screen of each step."""
