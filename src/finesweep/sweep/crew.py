"""The workers of a sweep on one machine: started with their share of it, kept alive, told to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from threading import Thread

import cloudpickle
from hydra.core.singleton import Singleton

from finesweep.errors import Fault, FinesweepError, Interrupted
from finesweep.machine import visible_gpus
from finesweep.sweep.display import Display
from finesweep.sweep.plan import Plan, Settings
from finesweep.sweep.study import Study, is_gone_here, num_left
from finesweep.sweep.worker import should_stop

POLL_S = 0.25
MAX_STILLBORN = 3


def supervise(plan: Plan, study: Study, display: Display) -> None:
    """Keep `n_jobs` worker processes alive until the study has nothing left for them.

    Raises:
        FinesweepError: workers die before they get to work.
        Interrupted: Ctrl-C or SIGTERM.
    """
    crew = Crew(plan)
    with _stop_signals() as stops:
        try:
            crew.fill()
            # Meanwhile: the report's importances stand on scikit-learn, which takes 1.5 s to import.
            Thread(target=import_module, args=("optuna.importance",)).start()
            while crew.is_working():
                time.sleep(POLL_S)
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
                        crew.fill()
                display.update()
        finally:
            crew.kill()
    if stops:
        raise Interrupted(stops[0])
    study.reclaim(plan.settings.max_retries, is_gone_here)


class Crew:
    """The worker processes of one controller.

    Args:
        plan: the sweep.
    """

    def __init__(self, plan: Plan) -> None:
        self.stopping = False
        self._plan = plan
        self._workers: dict[int, subprocess.Popen[bytes]] = {}
        self._started: dict[int, float] = {}
        self._stillborn = 0
        self._payload = cloudpickle.dumps((Singleton.get_state(), cloudpickle.dumps(plan)))

    def fill(self) -> None:
        """Start a worker in every empty place."""
        waiting = self._plan.num_trials
        for index in range(min(self._plan.settings.n_jobs, waiting)):
            if index not in self._workers:
                self._workers[index] = self._spawn(index)
                self._started[index] = time.monotonic()

    def is_working(self) -> bool:
        """Return whether any worker is alive."""
        return bool(self._workers)

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
            worker = subprocess.Popen(
                [sys.executable, "-m", "finesweep.sweep.worker"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, **worker_environment(index, self._plan.settings)},
                start_new_session=True,  # Ctrl-C reaches the controller alone, which tells its workers
            )
        assert worker.stdin
        try:
            worker.stdin.write(self._payload)
            worker.stdin.close()
        except BrokenPipeError:  # it died at once; reap() will say so
            pass
        return worker

    def _log(self, index: int) -> Path:
        return self._plan.folder / "workers" / f"{index}.log"


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
