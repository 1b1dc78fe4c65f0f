"""One of the processes of a team, which run a worker's trials together."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import traceback
from multiprocessing.connection import Client, Connection
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import setup_globals

from finesweep.config.build import register_resolvers
from finesweep.config.trust import strangers
from finesweep.errors import Interrupted
from finesweep.sweeps.execution import execute
from finesweep.sweeps.holders import LeaseLost
from finesweep.sweeps.plan import Plan
from finesweep.sweeps.storage import quiet_optuna
from finesweep.sweeps.team import ADDRESS, KEY, Job, Outcome, is_shared
from finesweep.sweeps.trial import CurrentTrial
from finesweep.system import distributed
from finesweep.system.processes import restore_environment
from finesweep.system.redaction import redact_tracebacks


def main() -> None:
    """Be one of a team's processes: run the trials that the worker sends, until it hangs up."""
    restore_environment()
    distributed.start_missing()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    redact_tracebacks()
    setup_globals()
    register_resolvers()
    quiet_optuna()
    connection = Client(os.environ.pop(ADDRESS), "AF_UNIX", authkey=bytes.fromhex(os.environ.pop(KEY)))
    connection.send(distributed.rank())
    singletons, pickled = pickle.loads(connection.recv_bytes())
    Singleton.set_state(singletons)
    plan: Plan = pickle.loads(pickled)
    with strangers(plan.vouched):
        _serve(plan, connection)


def _serve(plan: Plan, connection: Connection) -> None:
    distributed.connect()
    study = plan.open_study() if distributed.is_main() else None
    while True:
        try:
            job: Job = connection.recv()
        except EOFError:  # the worker is done
            return
        current = _current_trial(plan, study, job, connection)
        try:
            error, value = execute(plan, job.config, current)
        except Interrupted:
            sys.exit(1)
        if isinstance(error, LeaseLost):  # nobody is left to tell
            sys.exit(1)
        if distributed.is_main():
            if not _has_written(current):
                sys.exit(1)
            connection.send(_outcome(error, value))
        if error is not None and not is_shared(error):
            sys.exit(1)  # the others wait for us; the launcher ends them


def _current_trial(plan: Plan, study: Any, job: Job, connection: Connection) -> CurrentTrial:
    prunes = len(plan.settings.directions) == 1
    if study is None:
        return CurrentTrial(job.number, job.folder, plan.study_name, None, prunes)
    handle, spared = study.handle(job.number), plan.spares(job.number)
    return CurrentTrial(job.number, job.folder, plan.study_name, handle, prunes, spared, _Lease(connection))


def _has_written(current: CurrentTrial) -> bool:
    """Write what was noted about a trial; say whether it is still this team's."""
    try:
        current.write()
    except LeaseLost:
        return False
    return True


class _Lease:
    """Says that the trial is lost when the worker that holds its lease is gone."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def check(self) -> None:
        """Raise LeaseLost if the worker has hung up."""
        if self._connection.poll():
            raise LeaseLost("the worker of this trial is gone")


def _outcome(error: BaseException | None, value: Any) -> Outcome:
    if error is None:
        return Outcome(value)
    text = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # an exception with a constructor of its own
        error = RuntimeError(f"{type(error).__name__}: {error}")
    return Outcome(error=error, traceback=text)


if __name__ == "__main__":
    main()
