"""Who holds a trial: a worker and its lease, and what tells that it holds it no more."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from finesweep.errors import RunTakenOver
from finesweep.system.processes import is_gone, process_space

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

LEASE_S = 60.0
RENEW_S = 10.0
LEASE = "finesweep:lease"  # the trial's attribute


class LeaseLost(RunTakenOver):
    """Another worker has this trial now; its results here are dropped."""


@dataclass(frozen=True)
class Terms:
    """How long a lease lasts, how often it is renewed, and by which clocks.

    Args:
        lease_s: a lease that stood unchanged for so long has run out.
        renew_s: how often its holder renews it.
        clock: the watcher's own, which never jumps.
        wall: what a holder writes into its lease.
    """

    lease_s: float = LEASE_S
    renew_s: float = RENEW_S
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time


@dataclass(frozen=True)
class Worker:
    """Who holds a lease: unique, and recognisable on its host."""

    token: str
    host: str
    pid: int
    space: str = ""  # where its number means something
    since: str = ""  # when it ran under this number, which another process may have later; in ISO 8601

    @classmethod
    def here(cls) -> Worker:
        """Describe this process."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(uuid.uuid4().hex[:12], socket.gethostname(), os.getpid(), process_space(), now)

    def lease(self, terms: Terms) -> dict[str, Any]:
        """Return what says in a trial's attributes that this worker runs it."""
        return {
            "token": self.token,
            "host": self.host,
            "pid": self.pid,
            "space": self.space,
            "since": self.since,
            "renewed": terms.wall(),  # by that host's clock: only that it changes means something
        }


class Watch:
    """For how long the leases of running trials have stood unchanged, by this process's own clock.

    Args:
        terms: of the leases.
    """

    def __init__(self, terms: Terms) -> None:
        self._terms, self._looked = terms, terms.clock()
        self._stood: dict[int, tuple[Any, float]] = {}  # by a trial's number: its lease, and for how long

    def look(self, running: Sequence[FrozenTrial]) -> None:
        """Note for how long each lease has stood; of a gap between two looks only `renew_s` counts.

        In a longer one this process, or the storage, may have been away, and with it those that renew.
        """
        now = self._terms.clock()
        step, self._looked = min(now - self._looked, self._terms.renew_s), now
        stood = {}
        for trial in running:
            lease = trial.system_attrs.get(LEASE)
            before, seconds = self._stood.get(trial.number, (lease, -step))
            stood[trial.number] = (lease, seconds + step if lease == before else 0.0)
        self._stood = stood

    def has_no_owner(self, trial: FrozenTrial, is_gone: Callable[[dict[str, Any]], bool]) -> bool:
        """Say of a trial that was looked at whether nobody runs it.

        Args:
            trial: a running one.
            is_gone: whether a lease's worker is known to be gone.
        """
        lease, seconds = self._stood[trial.number]
        if lease is None:  # it changes hands, or who did that has died before it could say so
            return seconds >= self._terms.renew_s
        return seconds >= self._terms.lease_s or is_gone(lease)


def is_gone_here(lease: dict[str, Any]) -> bool:
    """Say whether a lease's worker ran on this host, and in this container, and is no more."""
    if lease.get("space") not in (None, "", process_space()):
        return False
    return is_gone(lease["host"], lease["pid"], lease.get("since", ""))
