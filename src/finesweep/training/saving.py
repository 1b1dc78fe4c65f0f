"""Checkpoints that a thread seals while training goes on."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from finesweep.system import distributed
from finesweep.training import checkpoints

logger = logging.getLogger(__name__)


class Saver:
    """Save one checkpoint after the other.

    Its files are written at once, while the weights stand still. A thread brings them to the disk, seals them
    and moves the checkpoint to its place: disks take long for that, and training waits only before the next.

    Args:
        folder: for the checkpoints.
        keep: how many to keep beside the best; None keeps all.
        told: is called with each checkpoint that is in its place, in the thread of the training.
    """

    def __init__(self, folder: Path, keep: int | None, told: Callable[[Path], None]) -> None:
        self._folder, self._keep, self._told = folder, keep, told
        self._thread: threading.Thread | None = None
        self._place: Path | None = None
        self._error: BaseException | None = None

    @contextmanager
    def saving(self, step: int, best: int | None, bound: dict[str, Any]) -> Iterator[Path]:
        """Let the block write a checkpoint's files; under several processes every one enters.

        Args:
            step: the optimizer step that was just done.
            best: the step of the best evaluation so far, whose checkpoint this one needs.
            bound: values of the trainer's keys that whoever goes on from here must share.

        Yields:
            where the files belong.
        """
        self.wait()
        with checkpoints.staged(self._folder, step) as staging:
            yield staging
        self._place = checkpoints.path_of(self._folder, step)
        seal = partial(self._seal, staging, best, bound)
        if distributed.world_size() == 1:  # a thread of its own has this one's trial and log
            self._thread = threading.Thread(target=contextvars.copy_context().run, args=(seal,))
            self._thread.start()
            return
        if distributed.is_main():
            seal()
        distributed.barrier()  # nobody goes on before the checkpoint is there
        self.wait()

    def wait(self) -> None:
        """Wait until the last checkpoint is in its place.

        Raises:
            OSError: it could not be saved; or whatever else went wrong.
        """
        if self._thread:
            self._thread.join()
        place, error = self._place, self._error
        self._thread = self._place = self._error = None
        if error:
            raise error
        if place:
            self._told(place)

    def close(self) -> None:
        """Let nothing be written any more, however training has ended."""
        if self._thread:
            self._thread.join()
        if self._error:  # training has ended with an error of its own, which is the one that is told
            logger.warning("The last checkpoint couldn't be saved: %s", self._error)

    def _seal(self, staging: Path, best: int | None, bound: dict[str, Any]) -> None:
        try:
            checkpoints.put(staging, best, bound)
            needed = None if best is None else checkpoints.path_of(self._folder, best)
            checkpoints.rotate(self._folder, self._keep, needed)
        except BaseException as error:
            self._error = error
