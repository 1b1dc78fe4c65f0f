"""The workers of a sweep on one machine: started with their share of it, kept alive, told to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from threading import Thread

import cloudpickle
from hydra.core.singleton import Singleton

from finesweep.errors import Fault, FinesweepError, Interrupted
from finesweep.machine import visible_gpus
from finesweep.process import import_environment
from finesweep.sweep.display import Display
from finesweep.sweep.plan import Plan, Settings
from finesweep.sweep.study import Study, is_gone_here, num_left
from finesweep.sweep.worker import should_stop

POLL_S = 0.25
MAX_STILLBORN = 3


def supervise(plan: Plan, study: Study, display: Display, crew: Crew) -> None:
    """Keep `n_jobs` worker processes alive until the study has nothing left for them.

    Args:
        plan: the sweep.
        study: its study.
        display: shows what happens.
        crew: the workers, which may have been started already.

    Raises:
        FinesweepError: workers die before they get to work.
        Interrupted: Ctrl-C or SIGTERM.
    """
    with _stop_signals() as stops:
        try:
            crew.fill(plan)
            # Meanwhile: the report's importances stand on scikit-learn, which takes 1.5 s to import.
            Thread(target=import_module, args=("optuna.importance",)).start()
            while crew.is_working():
                crew.wait(POLL_S)
                if stops and not crew.stopping:
                    crew.stop()
                    display.say("Stopping: trials are saved and given back. Ctrl-C again ends at once.")
                if len(stops) > 1:
                    break
                if crew.reap() and not crew.stopping:
                    study.reclaim(plan.settings.max_retries, is_gone_here)
                    trials = study.trials()
                    is_left = num_left(trials, plan.num_trials) or study.trials("RUNNING")
                    if is_left and not should_stop(plan, trials):
                        crew.fill(plan)
                display.update()
        finally:
            crew.kill()
    if stops:
        raise Interrupted(stops[0])
    study.reclaim(plan.settings.max_retries, is_gone_here)


class Crew:
    """The worker processes of one controller.

    Args:
        folder: the sweep's folder; the workers' logs go there.
        settings: what each of them gets of this machine.
        count: how many there are.
    """

    def __init__(self, folder: Path, settings: Settings, count: int) -> None:
        self.stopping = False
        self._folder, self._settings, self._count = folder, settings, count
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

    def reap(self) -> bool:
        """Forget the workers that have ended, and return whether one did.

        Raises:
            FinesweepError: workers die one after the other before they get to work.
        """
        ended = {
            index: worker.returncode for index, worker in self._workers.items() if worker.poll() is not None
        }
        for index, code in ended.items():
            del self._workers[index]
            self._stillborn = self._stillborn + 1 if code == 1 else 0
            if self._stillborn >= MAX_STILLBORN:
                log = self._log(index)
                rule = f"{MAX_STILLBORN} workers in a row ended with an error; the last one's log ends with:"
                tail = "\n  ".join(log.read_text(errors="replace").splitlines()[-8:])
                raise FinesweepError(Fault(str(log), f"{rule}\n  {tail}"))
        return bool(ended)

    def stop(self) -> None:
        """Ask every worker to checkpoint its trial, give it back, and end."""
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
                [sys.executable, "-m", "finesweep.sweep.worker"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, **import_environment(), **worker_environment(index, self._settings)},
                start_new_session=True,  # Ctrl-C reaches the controller alone, which tells its workers
            )

    def _log(self, index: int) -> Path:
        return self._folder / "workers" / f"{index}.log"


def worker_environment(index: int, settings: Settings) -> dict[str, str]:
    """Give a worker its share of the machine: threads = cores / n_jobs, and its GPUs, round-robin.

    It gets one GPU, or one for each process of a trial.
    """
    threads = str(max(1, len(os.sched_getaffinity(0)) // settings.n_jobs))
    share = {"FINESWEEP_THREADS": threads, "OMP_NUM_THREADS": threads}
    gpus = visible_gpus()
    count = min(settings.processes_per_trial, len(gpus))
    own = [gpus[(index * count + place) % len(gpus)] for place in range(count)]
    return share | ({"CUDA_VISIBLE_DEVICES": ",".join(own)} if own else {})


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of being interrupted by them."""
    received: list[int] = []
    handlers = {
        n: signal.signal(n, lambda number, _: received.append(number))
        for n in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield received
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
