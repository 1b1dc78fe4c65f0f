"""What a tracker is, and what it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from finesweep.system.redaction import redact_label

# How a run can end; each tracker says it in its own words.
State = Literal["complete", "pruned", "interrupted", "failed"]
FINISH_TIMEOUT_S = 60


@dataclass(frozen=True)
class RunInfo:
    """What a tracker is told about a run.

    Args:
        run_id: the run folder's name; for a trial, one of its own.
        name: the run's name.
        folder: the run folder; a tracker may keep files of its own in it.
        config: the saved config, without resolved secrets.
        step: the optimizer step that a resumed run goes on from.
    """

    run_id: str
    name: str
    folder: Path
    config: dict[str, Any]
    step: int = 0


class Tracker(Protocol):
    """A sink for metrics. Its methods may block or raise; `Background` shields the run from both."""

    def load(self) -> None:
        """Import what it needs, in the run's own thread.

        Some libraries look for others in `sys.modules`, and fail on one that another thread is importing.
        """
        ...

    def start(self, run: RunInfo) -> None:
        """Open the sink."""
        ...

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Send metrics."""
        ...

    def finish(self, state: State) -> None:
        """Close the sink with the run's outcome."""
        ...

    def abandon(self) -> None:
        """Let go of a sink that broke, so that nothing of it stirs later."""
        ...


class NoTracker:
    """Track nothing; metrics.jsonl has everything."""

    def load(self) -> None:
        """Do nothing."""

    def start(self, run: RunInfo) -> None:
        """Do nothing."""

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Do nothing."""

    def finish(self, state: State) -> None:
        """Do nothing."""

    def abandon(self) -> None:
        """Do nothing."""


class Several:
    """Several trackers; each gets a background of its own.

    Args:
        trackers: what makes each, by the name of its choice.
    """

    def __init__(self, **trackers: Callable[[], Tracker]) -> None:
        self.trackers = {name: make() for name, make in trackers.items()}


def trackers_in(node: Any) -> list[dict[str, Any]]:
    """Return the settings of each tracker in a config's `tracker`: of the one, or of the several."""
    if not isinstance(node, dict):
        return []
    inner = [value for value in node.values() if isinstance(value, dict) and "_target_" in value]
    return inner or [node]


def safe_labels(labels: Mapping[str, str | None]) -> dict[str, str | None]:
    """Mask secrets in what a run is filed under: a project, a group, the kind of run."""
    return {name: text and redact_label(text) for name, text in labels.items()}


def safe_tags(tags: Iterable[str] | None) -> list[str]:
    """Mask secrets in tags."""
    return [redact_label(tag) for tag in tags or ()]


def flattened(config: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield a nested config's values with dotted keys; a list is one value."""
    for name, value in config.items():
        if isinstance(value, dict) and value:
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
