"""Trackers in threads of their own, so that they can neither delay a run nor fail it."""

from __future__ import annotations

import dataclasses
import logging
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from finesweep.errors import Interrupted
from finesweep.system.redaction import masked
from finesweep.trackers.base import FINISH_TIMEOUT_S, RunInfo, Several, State, Tracker
from finesweep.training.base import Decision, Monitor

logger = logging.getLogger(__name__)


class Background(Monitor):
    """Run a tracker in a thread of its own.

    Args:
        tracker: its first error is logged once, and nothing more is sent to it.
        run: is passed to the tracker's `start`.
        name: for messages, where there are several.
    """

    def __init__(self, tracker: Tracker, run: RunInfo, name: str = "") -> None:
        self._tracker = tracker
        self._title = f"The tracker {name}".strip()
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="tracker", daemon=True)
        self._broken = False
        self._attempt(tracker.load)
        self._calls.put(lambda: tracker.start(run))
        self._thread.start()

    def on_log(self, step: int, metrics: dict[str, float]) -> None:
        """Queue the metrics."""
        self._calls.put(lambda: self._tracker.log(step, dict(metrics)))

    def on_evaluate(self, step: int, metrics: dict[str, float]) -> Decision:
        """Queue the metrics."""
        self.on_log(step, metrics)
        return Decision.CONTINUE

    def finish(self, state: State) -> None:
        """Queue the end."""
        self._calls.put(lambda: self._tracker.finish(state))
        self._calls.put(None)

    def join(self, timeout: float) -> bool:
        """Wait for the end, or go on without after `timeout` seconds; return whether it got done."""
        self._thread.join(timeout)
        if self._thread.is_alive():
            logger.warning("%s didn't finish in time; the run's own files are complete.", self._title)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            if not self._broken:
                self._attempt(call)

    def _attempt(self, call: Callable[[], None]) -> None:
        try:
            call()
        except (Interrupted, KeyboardInterrupt):  # the user's word to the run, while it was loading
            raise
        except BaseException as error:  # whatever a tracker does wrong is its own affair
            self._broken = True
            what = f"{type(error).__name__}: {error}".splitlines()[0]
            logger.warning("%s stopped working (%s); the run goes on without it.", self._title, what)
            with suppress(Exception):  # it is broken, and that has been said
                self._tracker.abandon()


class Sinks(Monitor):
    """A run's tracker or trackers, each in a `Background`: one that breaks or blocks silences no other.

    Args:
        tracker: one, or `Several`.
        run: is passed to each tracker's `start`, secrets in its config masked.
    """

    def __init__(self, tracker: Tracker | Several, run: RunInfo) -> None:
        run = dataclasses.replace(run, config=masked(run.config))
        named = tracker.trackers if isinstance(tracker, Several) else {"": tracker}
        self._backgrounds = [Background(each, run, name) for name, each in named.items()]

    def on_log(self, step: int, metrics: dict[str, float]) -> None:
        """Queue the metrics."""
        for background in self._backgrounds:
            background.on_log(step, metrics)

    def on_evaluate(self, step: int, metrics: dict[str, float]) -> Decision:
        """Queue the metrics."""
        self.on_log(step, metrics)
        return Decision.CONTINUE

    def close(self, state: State, timeout: float | None = None) -> bool:
        """Finish all, or go on without after `timeout` seconds in all; return whether they got done."""
        deadline = time.monotonic() + (FINISH_TIMEOUT_S if timeout is None else timeout)
        for background in self._backgrounds:
            background.finish(state)
        done = [background.join(max(deadline - time.monotonic(), 0)) for background in self._backgrounds]
        return all(done)
