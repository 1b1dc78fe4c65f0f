"""A study's connections to its database server: kept from one call to the next, let go while nothing asks."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

# One is kept, and a lease's thread beside its trial gets another at once, for one call. Nothing asks whether
# a kept one still works: it is never old, and PatientStorage repeats what a restarted server breaks off.
POOL = {"pool_size": 1, "max_overflow": -1}
# A trial is taken, and ended, in a series of calls; to be connected for each cost three times as much as the
# calls. But a server has 100, and there may be more workers: who trains lets its own go soon after each
# renewal of its lease. Where the server has room it is kept for longer, for who waits for a turn: to be
# connected anew costs as much as a whole trial, and under the lock. After 2 s, each sixth turn of 64 workers
# had to be; after 6 s, each twentieth.
IDLE_S, IDLE_WITH_ROOM_S = 0.25, 6.0
ROOM = 0.75  # of the connections that a server allows
NUM_CONNECTED = {  # by database: what says how many connections it has, and how many it allows
    "postgresql": "SELECT sum(numbackends), current_setting('max_connections')::int FROM pg_stat_database",
}

_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


def let_go_when_idle(engine: Engine, idle_s: float = IDLE_S, with_room_s: float = IDLE_WITH_ROOM_S) -> None:
    """Close what an engine's pool keeps when no connection was used for a while, again and again.

    Args:
        engine: with a pool as `POOL` says.
        idle_s: for how long.
        with_room_s: for how long where the server said, when it was connected, that it has room for more.
    """
    from sqlalchemy import event

    if not _engines and hasattr(os, "register_at_fork"):  # Windows has no fork
        os.register_at_fork(after_in_child=_forget)
    _engines.add(engine)
    watch = _Watch(engine, idle_s, with_room_s)
    event.listen(engine, "connect", watch.look_around)
    event.listen(engine, "checkin", watch.note)


@contextmanager
def closed_if_it_fails() -> Iterator[None]:
    """Close what was connected within the block if it raises: whoever opens a storage gets no engine then.

    Optuna asks for a second connection beside its first. A full server refuses it, and the first would stay
    open until Python looks for cycles; the next try takes another.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    engines: list[Engine] = []

    def note(connection: Any) -> None:
        engines.append(connection.engine)

    event.listen(Engine, "engine_connect", note)
    try:
        yield
    except BaseException:
        for engine in engines:
            engine.dispose()
        raise
    finally:
        event.remove(Engine, "engine_connect", note)


class _Watch:
    """A thread that waits for the end of a series of calls, started by the first of each.

    Args:
        engine: whose connections.
        idle_s: how long after the last call the series is over.
        with_room_s: how long where the server has room.
    """

    def __init__(self, engine: Engine, idle_s: float, with_room_s: float) -> None:
        self._engine, self._idle_s = engine, idle_s
        self._when_full_s, self._with_room_s = idle_s, with_room_s
        self._lock = threading.Lock()
        self._is_running, self._used = False, 0.0

    def look_around(self, connection: Any, _record: Any) -> None:
        """Ask a server that has just been connected how full it is."""
        question = NUM_CONNECTED.get(self._engine.name)
        if question is None:
            return
        with closing(connection.cursor()) as cursor:
            cursor.execute(question)
            used, allowed = cursor.fetchone()
        connection.rollback()
        self._idle_s = self._with_room_s if used < ROOM * allowed else self._when_full_s

    def note(self, *_: Any) -> None:
        """Note that a connection was given back."""
        self._used = time.monotonic()
        with self._lock:
            if self._is_running:
                return
            self._is_running = True
        threading.Thread(target=self._run, name="connections", daemon=True).start()

    def _run(self) -> None:
        while (left := self._used + self._idle_s - time.monotonic()) > 0:
            time.sleep(left)
        # In this order: one that is given back now is closed here, or watched by another thread.
        with self._lock:
            self._is_running = False
        # Not the engine's `dispose`, which puts another pool in this one's place: one that is in use, longer
        # than `idle_s` on a busy machine, would come back to the old pool and stay open.
        self._engine.pool.dispose()


def _forget() -> None:
    """Leave this process's parent its connections: two of them on one would read each other's answers."""
    for engine in _engines:
        engine.dispose(close=False)
