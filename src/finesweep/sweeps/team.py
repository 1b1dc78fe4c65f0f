"""Trials of several processes: a worker's team, started with `accelerate launch` and kept for many trials.

The worker holds the lease and talks to the study; the team's main process, rank 0, runs the trial with
a handle of its own to report to. They talk over a socket, so that nothing of the plan is written to disk.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any

import cloudpickle
from hydra.core.singleton import Singleton
from omegaconf import DictConfig

from finesweep.sweeps.holders import LeaseLost
from finesweep.sweeps.plan import Plan
from finesweep.system.machine import visible_gpus
from finesweep.system.multiprocessing_insides import limit_waiting
from finesweep.system.processes import die_with_parent, import_environment

ADDRESS, KEY = "FINESWEEP_TEAM", "FINESWEEP_TEAM_KEY"
POLL_S = 1.0
START_S = 120.0
STOP_S = 60.0
GRACE_S = 10.0


class TeamDied(Exception):
    """A process of the team is gone, and so is what it was doing."""


@dataclass(frozen=True)
class Job:
    """A trial, as its team needs it."""

    config: DictConfig
    number: int
    folder: Path


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: its value, or the error it ended with."""

    value: Any = None
    error: BaseException | None = None
    traceback: str = ""


class RemoteTraceback(Exception):
    """The traceback that an error had in its own process."""


class Team:
    """The processes that run one worker's trials together.

    Args:
        plan: the sweep.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._launcher: subprocess.Popen[bytes] | None = None
        self._connections: list[Connection] = []

    def run(self, job: Job, check: Callable[[], None]) -> Outcome:
        """Run a trial.

        Args:
            job: the trial.
            check: raises when the trial is no longer ours; called again and again.

        Raises:
            TeamDied: a process of the team has died.
            Interrupted: this process was told to stop; so was the team, and the trial is saved.
        """
        if self._launcher is None:
            self._start()
        try:
            for connection in self._connections:
                connection.send(job)
            main, *others = self._connections
            while not main.poll(POLL_S):
                check()
            outcome: Outcome = main.recv()
            if outcome.error is None:
                return outcome
            outcome.error.__cause__ = RemoteTraceback(f"\n{outcome.traceback}")
            if is_shared(outcome.error):
                return outcome
            if any(connection.poll() for connection in others):  # gone before the main one complained
                raise TeamDied("a process of the trial has died")
            self._end()  # the others wait for the main process, which is about to end
            return outcome
        except (EOFError, OSError) as error:
            self._end()
            raise TeamDied("a process of the trial has died") from error
        except LeaseLost:
            self._end(signal.SIGKILL)  # the trial's folder is another worker's: nothing may be saved there
            raise
        except BaseException:
            self._end()
            raise

    def close(self) -> None:
        """Let the processes end, now that no trial is left."""
        self._hang_up()
        if self._launcher is not None:
            self._wait(GRACE_S)
        self._end()

    def _end(self, number: int = signal.SIGTERM) -> None:
        """End the processes; SIGTERM lets them save their trial."""
        if self._launcher is not None:
            self._signal(number)
            self._wait(STOP_S)
            self._signal(signal.SIGKILL)
            self._wait(STOP_S)
            self._launcher = None
        self._hang_up()

    def _hang_up(self) -> None:
        for connection in self._connections:
            connection.close()
        self._connections = []

    def _wait(self, seconds: float) -> None:
        assert self._launcher
        deadline = time.monotonic() + seconds
        while self._signal(0) and time.monotonic() < deadline:
            self._launcher.poll()
            time.sleep(0.05)

    def _signal(self, number: int) -> bool:
        """Send a signal to every process of the launcher's session, and say whether there was one."""
        assert self._launcher
        try:
            os.killpg(self._launcher.pid, number)
        except ProcessLookupError:
            return False
        return True

    def _start(self) -> None:
        count, folder = self._plan.settings.processes_per_trial, tempfile.mkdtemp(prefix="finesweep-")
        key = secrets.token_bytes(32)
        kind = ["--multi_gpu"] if visible_gpus() else ["--cpu"]
        command = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", *kind]
        command += ["--num_processes", str(count), "--main_process_port", "0"]
        command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
        try:
            with Listener(os.path.join(folder, "socket"), "AF_UNIX", backlog=count, authkey=key) as listener:
                address = str(listener.address)
                self._launcher = subprocess.Popen(
                    [*command, "-m", "finesweep.sweeps.rank"],
                    env={**os.environ, **import_environment(), ADDRESS: address, KEY: key.hex()},
                    stdin=subprocess.DEVNULL,
                    preexec_fn=die_with_parent if sys.platform == "linux" else None,
                    start_new_session=True,
                )
                self._connections = self._accept(listener, count)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        payload = cloudpickle.dumps((Singleton.get_state(), cloudpickle.dumps(self._plan)))
        for connection in self._connections:
            connection.send_bytes(payload)

    def _accept(self, listener: Listener, count: int) -> list[Connection]:
        """Wait for every process to come up, and return their connections in the order of their ranks."""
        limit_waiting(listener, START_S)
        by_rank = {}
        try:
            while len(by_rank) < count:
                connection = listener.accept()
                by_rank[connection.recv()] = connection
        except (TimeoutError, EOFError, OSError) as error:
            self._end()
            raise TeamDied("the processes of a trial did not start; the worker's log says why") from error
        return [connection for _, connection in sorted(by_rank.items())]


def is_shared(error: BaseException) -> bool:
    """Say whether every process of the team ended the trial in the same way."""
    import optuna

    return isinstance(error, optuna.TrialPruned)
