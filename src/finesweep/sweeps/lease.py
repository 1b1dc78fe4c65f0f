"""A worker's hold on its trial, renewed in the background."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from finesweep.errors import MachineFault
from finesweep.sweeps.holders import LeaseLost, Worker
from finesweep.sweeps.study import Study

logger = logging.getLogger(__name__)


@contextmanager
def kept_lease(study: Study, worker: Worker, trial_id: int) -> Iterator[LeaseKeeper]:
    """Keep a trial's lease within the block."""
    keeper = LeaseKeeper(study, worker, trial_id)
    keeper.start()
    try:
        yield keeper
    finally:
        keeper.stop()


class LeaseKeeper(threading.Thread):
    """Renew a trial's lease in the background, and notice when it is lost.

    Args:
        study: the study.
        worker: who holds the lease.
        trial_id: the trial's id in the storage.
    """

    def __init__(self, study: Study, worker: Worker, trial_id: int) -> None:
        super().__init__(name="lease", daemon=True)
        self._study, self._worker, self._trial_id = study, worker, trial_id
        self._stopped = threading.Event()
        self._renewed = study.terms.clock()
        self._loss: LeaseLost | MachineFault | None = None

    def run(self) -> None:
        """Renew until stopped or lost."""
        while not self._stopped.wait(self._study.terms.renew_s) and self._loss is None:
            self._renew()

    def check(self) -> None:
        """Make sure that the trial is still ours; asks the storage only when a renewal is overdue.

        Raises:
            LeaseLost: this process was stopped for so long that the trial went to another worker.
            MachineFault: the study can't be reached any more.
        """
        terms = self._study.terms
        if self._loss is None and terms.clock() - self._renewed > terms.lease_s / 2:
            self._renew()
        if self._loss:
            raise self._loss

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()

    def _renew(self) -> None:
        try:
            self._study.renew(self._trial_id, self._worker)
            self._renewed = self._study.terms.clock()
        except (LeaseLost, MachineFault) as loss:
            self._loss = loss
        except Exception as error:  # a storage that is away for a moment; the lease decides in the end
            logger.warning("The lease couldn't be renewed: %s", error)
