"""Run a sweep: hand the study to workers, keep them alive, and say what came out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import cloudpickle
from filelock import FileLock, Timeout
from hydra.core.singleton import Singleton

from finesweep.console import make_console, show_summary
from finesweep.errors import ConfigError, Fault, FinesweepError, Interrupted
from finesweep.machine import visible_gpus
from finesweep.process import interruptible
from finesweep.rundir import relative_to_here, write_json, write_text
from finesweep.sweep.display import Display, params_text
from finesweep.sweep.plan import GRID_SAMPLER, Plan, Settings
from finesweep.sweep.results import pruned, ranked, read_result, write_best, write_leaderboard
from finesweep.sweep.space import value_on
from finesweep.sweep.study import ERROR, Study, is_gone_here
from finesweep.sweep.winner import evaluate_winner
from finesweep.sweep.worker import (
    STARTED,
    WorkerTask,
    out_of_time,
    quiet_optuna,
    should_stop,
    target_reached,
    too_many_failures,
    work,
)

POLL_S = 0.25
STATUS = "status.json"
MAX_STILLBORN = 3
SHOWN_ERRORS = 5
TOP = 5


def run_sweep(plan: Plan, default_point: dict[str, Any]) -> None:
    """Finish what is missing of a sweep, and write its results.

    Args:
        plan: the sweep.
        default_point: the config as it stands, as a point of the space; tried first.

    Raises:
        FinesweepError: every trial failed, or too many did.
        Interrupted: Ctrl-C or SIGTERM; the sweep can be continued.
    """
    quiet_optuna()
    plan.folder.mkdir(parents=True, exist_ok=True)
    with _locked(plan.folder):
        study = plan.open_study()
        study.reclaim(plan.settings.max_retries, is_gone_here)
        plan = replace(plan, points=tuple(_first_points(plan, default_point)))
        write_text(plan.folder / STARTED, str(time.time()))
        with _recorded_status(plan, study), interruptible():
            with Display(plan, study) as display:
                _run_workers(plan, study, display)
            _finish(plan, study)


@contextmanager
def _recorded_status(plan: Plan, study: Study) -> Iterator[None]:
    """Keep status.json true however the sweep ends; a sweep that isn't complete can be resumed."""
    path = plan.folder / STATUS
    write_json(path, {"state": "running"})
    try:
        yield
    except Interrupted as interruption:
        study.reclaim(plan.settings.max_retries, is_gone_here, is_retry=False)  # from killed workers
        write_json(path, {"state": "interrupted", "reason": signal.Signals(interruption.signal_number).name})
        write_leaderboard(plan, study)
        left = study.num_left(plan.num_trials)
        make_console().print(f"Stopped with {left} trials to go. {_continuation(plan)}", markup=False)
        raise
    except FinesweepError as error:
        write_json(path, {"state": "failed", "reason": str(error)})
        raise
    late = "" if target_reached(plan, study) else out_of_time(plan, study)
    write_json(path, {"state": "interrupted", "reason": late} if late else {"state": "complete"})


def _continuation(plan: Plan) -> str:
    return f"Continue: finesweep resume {relative_to_here(plan.folder)}"


def _first_points(plan: Plan, default_point: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the points to try first: the config as it stands, the user's, then a finite space's others."""
    axes = plan.space.axes
    enqueued = [
        {key: value_on(axes[key], value) if key in axes else value for key, value in point.items()}
        for point in plan.settings.enqueue
    ]
    first = [default_point] if default_point else []
    first += [point for point in enqueued if point != default_point]
    is_grid = plan.settings.sampler["_target_"] == GRID_SAMPLER
    size = plan.space.size()
    if is_grid or (
        size is not None and size <= plan.settings.n_trials and not plan.settings.custom_search_space
    ):
        return _in_front(first, plan.space.points())
    return first


def _in_front(first: list[dict[str, Any]], points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Order the points of a finite space so that one that agrees with each of `first` comes first."""
    front: list[dict[str, Any]] = []
    for wanted in first:
        agreeing = (point for point in points if point.items() >= wanted.items() and point not in front)
        front += islice(agreeing, 1)
    return front + [point for point in points if point not in front]


def _run_workers(plan: Plan, study: Study, display: Display) -> None:
    launcher = plan.config.hydra.launcher._target_
    if plan.settings.n_jobs == 0:
        work(plan)
    elif launcher.endswith("BasicLauncher"):
        _supervise(plan, study, display)
    else:
        _launch(plan)


def _launch(plan: Plan) -> None:
    """Let Hydra's launcher place the workers: one call, so that no batch waits for its slowest trial."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.plugins import Plugins

    before = HydraConfig.instance().cfg
    launcher = Plugins.instance().instantiate_launcher(
        hydra_context=plan.hydra_context, task_function=WorkerTask(plan), config=plan.config
    )
    try:
        for done in launcher.launch([[] for _ in range(plan.settings.n_jobs)], initial_job_idx=0):
            _ = done.return_value
    finally:
        HydraConfig.instance().cfg = before


def _supervise(plan: Plan, study: Study, display: Display) -> None:
    """Keep `n_jobs` worker processes alive until the study has nothing left for them."""
    crew = Crew(plan)
    with _stop_signals() as stops:
        try:
            crew.fill()
            while crew.is_working():
                time.sleep(POLL_S)
                if stops and not crew.stopping:
                    crew.stop()
                    display.say("Stopping: trials are saved and given back. Ctrl-C again ends at once.")
                if len(stops) > 1:
                    break
                if crew.reap() and not crew.stopping:
                    study.reclaim(plan.settings.max_retries, is_gone_here)
                    if (study.num_left(plan.num_trials) or study.trials("RUNNING")) and not should_stop(
                        plan, study
                    ):
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


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / ".controller.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        rule = "Another process runs this sweep right now."
        raise ConfigError(Fault(str(folder), rule, fix="Wait for it, or end it first.")) from None
    try:
        yield
    finally:
        lock.release()


def _finish(plan: Plan, study: Study) -> None:
    order = ranked(study)
    failures = too_many_failures(plan, study)
    if not order or failures:
        write_leaderboard(plan, study)
        late = out_of_time(plan, study)
        nothing = f"No trial was completed: {late}" if late else "No trial was completed"
        raise FinesweepError(*_failures(plan, study, failures or nothing))
    path = write_best(plan, order[0])
    evaluate_winner(plan, study)  # unless a worker has
    write_leaderboard(plan, study)
    _show(plan, study, order, should_stop(plan, study), path)


def _failures(plan: Plan, study: Study, reason: str) -> list[Fault]:
    errors = Counter(trial.user_attrs.get(ERROR, "no reason was recorded") for trial in study.trials("FAIL"))
    hint = "Tracebacks are in trials/<number>/error.txt." if errors else _continuation(plan)
    faults = [Fault(str(relative_to_here(plan.folder)), f"{reason}.", fix=hint)]
    faults += [Fault(f"{count} trials", error) for error, count in errors.most_common(SHOWN_ERRORS)]
    return faults


def _show(plan: Plan, study: Study, order: list[Any], reason: str, best_path: Path | None) -> None:
    counts = Counter(trial.state.name for trial in study.trials())
    folder = relative_to_here(plan.folder)
    rows = {"trials": ", ".join(f"{count} {state.lower()}" for state, count in counts.items())}
    if reason:
        rows["stopped"] = reason
    for place, trial in enumerate([*order, *pruned(study)][:TOP], start=1):
        value = " / ".join(f"{v:.4f}" for v in trial.values)
        note = f" (pruned after {len(trial.intermediate_values)})" if trial.state.name == "PRUNED" else ""
        rows[f"{place}."] = f"{value}  trial {trial.number}: {params_text(trial.params)}{note}"
    tested = read_result(plan.trial_folder(order[0].number)).get("metrics", {})
    shown = {name.removeprefix("test/"): v for name, v in tested.items() if name.startswith("test/")}
    if shown:
        rows["test"] = (
            ", ".join(f"{name} {v:.4f}" for name, v in shown.items() if "/" not in name) + " (the winner)"
        )
    rows["folder"] = str(folder)
    commands = {}
    if best_path:
        commands["run the best"] = f"python train.py --config-path {folder} --config-name best"
        commands["repeat it"] = f"finesweep reproduce {folder}/trials/{order[0].number}"
    commands["all trials"] = f"{folder}/leaderboard.csv"
    show_summary(f"{plan.study_name}: best of {len(order)} complete trials", rows, commands)
