"""The workers of a sweep on one machine: started with their share of it, kept alive, told to stop."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

import cloudpickle
from hydra.core.singleton import Singleton

from finesweep.errors import (
    DiskFull,
    Fault,
    FinesweepError,
    Interrupted,
    MachineFault,
    StorageLost,
    StudyGone,
)
from finesweep.sweeps.display import Display
from finesweep.sweeps.finalists import may_come
from finesweep.sweeps.holders import is_gone_here
from finesweep.sweeps.patience import FAULT_CODES, STORAGE
from finesweep.sweeps.plan import Plan, Settings
from finesweep.sweeps.study import Study
from finesweep.system.files import disk_full
from finesweep.system.machine import allowed_cores, is_about_memory, visible_gpus
from finesweep.system.processes import import_environment
from finesweep.system.signals import hangups, leave, open_terminals
from finesweep.system.sweep_folder import SweepFolder

POLL_S = 0.25
MAX_STILLBORN = 3
STOP_S = 60.0
LOG_LINES = 8
HINTS = {  # by name: not every system has them
    "SIGKILL": "as the system does when memory runs out (the OOM killer)",
    "SIGBUS": "as it happens on a full disk or a full /dev/shm",
}


def supervise(plan: Plan, study: Study, display: Display, crew: Crew) -> None:
    """Keep `n_jobs` worker processes alive until the study has nothing left for them.

    Args:
        plan: the sweep.
        study: its study.
        display: shows what happens.
        crew: the workers, which may have been started already.

    Raises:
        FinesweepError: workers die before they get to work.
        MachineFault: the disk is full, or the study's storage is away or gone.
        Interrupted: Ctrl-C, SIGTERM or a closed terminal.
    """
    deadline = math.inf
    with _stop_signals(study) as stops:
        try:
            crew.fill(plan)
            # Meanwhile: the report's importances stand on scikit-learn, which takes 1.5 s to import.
            Thread(target=_warm_up).start()
            while crew.is_working() and time.monotonic() < deadline:
                crew.wait(POLL_S)
                if stops and not crew.stopping:
                    crew.stop()
                    display.say("Stopping: trials are saved and given back. Ctrl-C again ends at once.")
                if len(stops) > 1:
                    break
                try:
                    _look_after(plan, study, display, crew)
                except StorageLost as lost:
                    if not stops or isinstance(lost, StudyGone):
                        raise  # else the workers are being stopped, which needs no storage
                if crew.fault and deadline == math.inf:  # the others give back what they have
                    crew.stop()
                    deadline = time.monotonic() + STOP_S
        finally:
            crew.kill()
    if stops:
        raise Interrupted(stops[0])
    if crew.fault:
        raise _fault_of_worker(crew.fault, plan, study)
    study.reclaim(plan.settings.max_retries, is_gone_here)


def _look_after(plan: Plan, study: Study, display: Display, crew: Crew) -> None:
    """Take back the trials of workers that have died, fill their places, and show what has changed."""
    study.check_there()
    ended = crew.reap(study.has_served)
    if crew.fault:
        return
    deaths = [death for death in ended if death]
    for death in deaths:
        display.say(f"A worker {death}.")
    if ended and not crew.stopping:
        why = deaths[-1] if deaths else ""
        study.reclaim(plan.settings.max_retries, is_gone_here, why=why)
        if may_come(plan, study):
            crew.fill(plan)
    display.update()


def _warm_up() -> None:
    with suppress(Exception):  # the process may be about to end
        import_module("optuna.importance")


def _fault_of_worker(kind: type[MachineFault], plan: Plan, study: Study) -> MachineFault:
    """Say here what has ended a worker: its own log may be on the full disk."""
    if kind is DiskFull:
        return disk_full(plan.folder)
    study.check_there()
    study.trials()  # says what is wrong if it still is
    return kind(
        Fault(STORAGE, "A worker could not reach the study; workers/*.log in the sweep's folder say why.")
    )


class Crew:
    """The worker processes of one controller.

    Args:
        folder: the sweep's folder; the workers' logs go there.
        settings: what each of them gets of this machine.
        count: how many there are.
    """

    def __init__(self, folder: Path, settings: Settings, count: int) -> None:
        self.stopping = False
        self.fault: type[MachineFault] | None = None  # that a worker has ended with
        self._folder, self._settings, self._count = SweepFolder(folder), settings, count
        self._workers: dict[int, subprocess.Popen[bytes]] = {}
        self._stillborn = 0

    def start(self) -> None:
        """Start a process in every empty place; it imports what it needs and waits for its plan."""
        for index in range(self._count):
            if index not in self._workers:
                self._workers[index] = self._spawn(index)

    def fill(self, plan: Plan) -> None:
        """Have a worker in every empty place, and send the plan to those that wait for it."""
        self.start()
        payload = cloudpickle.dumps((Singleton.get_state(), cloudpickle.dumps(plan)))
        for worker in self._workers.values():
            assert worker.stdin
            if not worker.stdin.closed:
                with suppress(BrokenPipeError):  # it died at once; reap() will say so
                    worker.stdin.write(payload)
                    worker.stdin.close()

    def is_working(self) -> bool:
        """Return whether any worker is alive."""
        return bool(self._workers)

    def wait(self, timeout: float) -> None:
        """Wait for at most `timeout` seconds, or until the first of them ends."""
        first = next(iter(self._workers.values()))
        with suppress(subprocess.TimeoutExpired):
            first.wait(timeout)

    def reap(self, has_served: Callable[[int], bool]) -> list[str]:
        """Forget the workers that have ended, and say of each how it died; nothing where it was in order.

        Args:
            has_served: whether a process ever had a trial.

        Raises:
            FinesweepError: workers die one after the other before they get to work.
        """
        ended = {
            index: (worker.pid, worker.returncode)
            for index, worker in self._workers.items()
            if worker.poll() is not None
        }
        deaths = []
        for index, (pid, code) in ended.items():
            del self._workers[index]
            self.fault = self.fault or FAULT_CODES.get(code)
            tail = self._log(index).read_text(errors="replace").splitlines()[-LOG_LINES:]
            deaths.append(_death(code, tail))
            is_stillborn = code == 1 or (code < 0 and not has_served(pid))
            self._stillborn = self._stillborn + 1 if is_stillborn else 0
            if self._stillborn >= MAX_STILLBORN and not self.stopping:
                rule = f"{MAX_STILLBORN} workers in a row died; the last one {deaths[-1]}. Its log ends with:"
                raise FinesweepError(Fault(str(self._log(index)), "\n  ".join([rule, *tail])))
        return deaths

    def stop(self) -> None:
        """Ask every worker to checkpoint its trial, give it back, and end."""
        if self.stopping:  # a second signal would end them before their checkpoint is whole
            return
        self.stopping = True
        for worker in self._workers.values():
            worker.terminate()

    def kill(self) -> None:
        """End every worker at once."""
        for worker in self._workers.values():
            worker.kill()
        for worker in self._workers.values():
            worker.wait()

    def _spawn(self, index: int) -> subprocess.Popen[bytes]:
        self._log(index).parent.mkdir(exist_ok=True)
        with self._log(index).open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "finesweep.sweeps.worker"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, **import_environment(), **worker_environment(index, self._settings)},
                start_new_session=True,  # Ctrl-C reaches the controller alone, which tells its workers
            )

    def _log(self, index: int) -> Path:
        return self._folder.worker_log(index)


def _death(code: int, log: Sequence[str]) -> str:
    """Say how a worker died, or nothing where it ended in order."""
    if code < 0:
        name = signal.Signals(-code).name
        how = f"was killed by {name}{f', {HINTS[name]}' if name in HINTS else ''}"
    elif code == 1:
        how = "ended with an error"
    else:
        return ""
    return f"{how}: there was too little memory" if is_about_memory("\n".join(log)) else how


def worker_environment(index: int, settings: Settings) -> dict[str, str]:
    """Give a worker its share of the machine: threads = cores / n_jobs, and its GPUs, round-robin.

    It gets one GPU, or one for each process of a trial.
    """
    threads = str(max(1, allowed_cores() // settings.n_jobs))
    share = {"FINESWEEP_THREADS": threads, "OMP_NUM_THREADS": threads}
    gpus = visible_gpus()
    count = min(settings.processes_per_trial, len(gpus))
    own = [gpus[(index * count + place) % len(gpus)] for place in range(count)]
    return share | ({"CUDA_VISIBLE_DEVICES": ",".join(own)} if own else {})


@contextmanager
def _stop_signals(study: Study) -> Iterator[list[int]]:
    """Collect SIGINT, SIGTERM and SIGHUP, instead of being interrupted; they end the wait for a storage."""
    received: list[int] = []
    terminals, closing = open_terminals(), hangups()

    def collect(number: int, _frame: Any) -> None:
        if number in closing:
            leave(terminals)
            if received:  # a shell sends it, and then the system: nobody has asked twice
                return
        received.append(number)
        study.hurry()

    numbers = (signal.SIGINT, signal.SIGTERM, *closing)
    handlers = {number: signal.signal(number, collect) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
