"""Many workers on one study: trials that do nothing, handed out to threads of several processes.

    python benchmarks/scale.py [--workers 64 300] [--trials 10000] [--storage postgres journal] [--alone]

What is measured is the study: taking a trial, choosing its two parameters at random, recording its end, and
the lock around the first. A worker is a thread with a study and connections of its own; PostgreSQL runs with
the settings that it comes with (100 connections). torch isn't imported.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import queue
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.distributions import distribution_to_json
from optuna.storages._rdb import models
from sqlalchemy import insert, select

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from finesweep.sweeps.holders import LEASE, Terms, Worker
from finesweep.sweeps.patience import patiently
from finesweep.sweeps.plan import Plan, Settings
from finesweep.sweeps.space import Space
from finesweep.sweeps.storage import open_storage
from finesweep.sweeps.study import Study
from postgres_server import USER, controlled_server

PASSWORD = "benchmark"
AXES = {
    "x": optuna.distributions.FloatDistribution(-5, 5),
    "y": optuna.distributions.CategoricalDistribution([1, 2, 3]),
}
PROCESSES = 8
COLUMNS = (
    "storage",
    "workers",
    "trials",
    "totals",
    "trials/s",
    "ms of processor a trial, workers + server",
    "ms to take one, median (95%)",
)


@dataclass(frozen=True)
class Storage:
    """Where the study lies.

    Args:
        name: as a sweep's config has it.
        server: the process of its server, if it has one.
    """

    name: str | None
    server: int | None = None

    def processor_s(self) -> float:
        """Return the processor time that the server has had by now; what has ended of it counts too."""
        if self.server is None:
            return 0.0
        main = psutil.Process(self.server)
        seconds = sum(main.cpu_times()[:4])
        for child in main.children():
            with suppress(psutil.NoSuchProcess):  # it is the main one's by now, and missed this once
                seconds += sum(child.cpu_times()[:2])
        return seconds


@dataclass(frozen=True)
class Costs:
    """What all trials took, in seconds: by the clock, of the workers' processor time, of the server's."""

    clock: float
    workers: float
    server: float


def open_study(storage: str | None, folder: Path) -> Study:
    """Open the study as a sweep does."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler, pruner = {"_target_": "optuna.samplers.RandomSampler"}, {"_target_": "optuna.pruners.NopPruner"}
    settings = Settings("minimize", 1, 1, sampler, pruner, study_name="scale", storage=storage)
    return Plan(folder, settings, Space({}, ()), None, None, None).open_study()  # type: ignore[arg-type]


def work(study: Study, n_trials: int, times: list[tuple[int, float]]) -> None:
    """Take trials until none is left; note the number of each and how long it took to get it."""
    worker = Worker.here()
    while True:
        begin = time.perf_counter()
        trial = study.take(worker, AXES, n_trials)
        if trial is None:
            return
        times.append((trial.number, time.perf_counter() - begin))
        study.tell(trial, worker, [trial.params["x"] ** 2 + trial.params["y"]])


def run_threads(
    storage: str | None, folder: Path, n_trials: int, count: int, ready: Any, results: Any
) -> None:
    """Run some of the workers, once those of all processes are ready; send what they have noted."""
    studies = [patiently(partial(open_study, storage, folder), folder) for _ in range(count)]
    noted: list[list[tuple[int, float]]] = [[] for _ in range(count)]
    threads = [
        threading.Thread(target=work, args=(study, n_trials, one))
        for study, one in zip(studies, noted, strict=True)
    ]
    ready.wait()
    begin = time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put((time.process_time() - begin, [pair for one in noted for pair in one]))


def measure(
    where: Storage, folder: Path, n_trials: int, workers: int, processes: int
) -> tuple[Costs, list[tuple[int, float]]]:
    """Run a study with so many workers; return its costs and what it took to get each trial."""
    open_study(where.name, folder)  # makes the tables
    processes = min(processes, workers)
    counts = [workers // processes + (i < workers % processes) for i in range(processes)]
    context = multiprocessing.get_context("fork")  # what has been imported, they share
    ready, results = context.Barrier(processes + 1), context.Queue()
    started = [
        context.Process(target=run_threads, args=(where.name, folder, n_trials, count, ready, results))
        for count in counts
    ]
    for process in started:
        process.start()
    ready.wait()
    begin, server = time.perf_counter(), where.processor_s()
    noted = [_next_of(results, started) for _ in started]
    costs = Costs(
        time.perf_counter() - begin, sum(seconds for seconds, _ in noted), where.processor_s() - server
    )
    for process in started:
        process.join()
    return costs, [pair for _, pairs in noted for pair in pairs]


def _next_of(results: Any, started: list[Any]) -> Any:
    """Return what the next process has noted, unless one has died."""
    while True:
        with suppress(queue.Empty):
            return results.get(timeout=10)
        assert all(process.exitcode in (None, 0) for process in started), "a process of workers has died"


def fill(where: Storage, folder: Path, first: int, last: int) -> None:
    """Put complete trials into a database's study, all at once: what is there to be read is the same."""
    ids = select(models.TrialModel.trial_id).where(models.TrialModel.number.between(first, last - 1))
    done = {"study_id": 1, "state": optuna.trial.TrialState.COMPLETE}
    with open_storage(where.name, folder).engine.begin() as connection:  # type: ignore[attr-defined]
        rows = [{"number": number, **done} for number in range(first, last)]
        connection.execute(insert(models.TrialModel.__table__), rows)
        made = connection.scalars(ids).all()
        value = {"objective": 0, "value": 1.0, "value_type": models.TrialValueModel.TrialValueType.FINITE}
        connection.execute(insert(models.TrialValueModel), [{"trial_id": one, **value} for one in made])
        for name, axis in AXES.items():
            param = {"param_name": name, "param_value": 0.0, "distribution_json": distribution_to_json(axis)}
            connection.execute(insert(models.TrialParamModel), [{"trial_id": one, **param} for one in made])
        lease = {"key": LEASE, "value_json": json.dumps(Worker.here().lease(Terms()))}
        connection.execute(
            insert(models.TrialSystemAttributeModel), [{"trial_id": one, **lease} for one in made]
        )


def alone(where: Storage, folder: Path, numbers: tuple[int, ...]) -> dict[int, tuple[float, ...]]:
    """Return what one worker needs for a trial at some numbers.

    Returns:
        For each number, in ms: the median of 30 trials by the clock; of their processor time the mean of the
        worker's and of the server's.
    """
    study, worker, found = open_study(where.name, folder), Worker.here(), {}
    known = len(study.trials())
    for number in numbers:
        fill(where, folder, known, number)
        known = number
        taken = []
        for turn in range(31):
            if turn == 1:  # the first one reads all trials that are new to it
                began, server = time.process_time(), where.processor_s()
            begin = time.perf_counter()
            trial = study.take(worker, AXES, known + 1)
            assert trial
            study.tell(trial, worker, [0.0])
            taken.append(time.perf_counter() - begin)
            known += 1
        costs = (
            statistics.median(taken[1:]),
            (time.process_time() - began) / 30,
            (where.processor_s() - server) / 30,
        )
        found[number] = tuple(1000 * cost for cost in costs)
    return found


def check(storage: str | None, folder: Path, n_trials: int, pairs: list[tuple[int, float]]) -> str:
    """Say whether each trial was handed out once and has ended."""
    states = Counter(trial.state.name for trial in open_study(storage, folder).trials())
    is_exact = sorted(number for number, _ in pairs) == list(range(n_trials)) and states == {
        "COMPLETE": n_trials
    }
    return "exact" if is_exact else f"NOT EXACT: {len(pairs)} handed out, {dict(states)}"


def main() -> None:
    """Measure each storage with each number of workers, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[64, 300])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument(
        "--storage", nargs="+", default=["postgres"], choices=["postgres", "journal", "sqlite"]
    )
    parser.add_argument(
        "--alone", action="store_true", help="what a trial costs one worker at 100 and at TRIALS"
    )
    parser.add_argument("--processes", type=int, default=PROCESSES, help="that the workers are threads of")
    arguments = parser.parse_args()
    os.environ["STUDY_PASSWORD"] = PASSWORD
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    for name in arguments.storage:
        for workers in arguments.workers:
            with ExitStack() as stack:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                where = _storage(name, stack)
                if arguments.alone:
                    costs = alone(where, folder, (100, arguments.trials))
                    for number, (clock, own, server) in costs.items():
                        each = f"{clock:.1f} ms, of processors {own:.1f} + {server:.1f}"
                        print(f"{name}, one worker at {number}: {each}", flush=True)
                    break
                costs, pairs = measure(where, folder, arguments.trials, workers, arguments.processes)
                totals = check(where.name, folder, arguments.trials, pairs)
                print(f"| {' | '.join(_row(name, workers, totals, costs, pairs))} |", flush=True)


def _row(name: str, workers: int, totals: str, costs: Costs, pairs: list[tuple[int, float]]) -> list[str]:
    count, taken = len(pairs), sorted(1000 * cost for _, cost in pairs)
    middle, late = statistics.median(taken), taken[int(0.95 * len(taken))]
    each = f"{1000 * costs.workers / count:.1f} + {1000 * costs.server / count:.1f}"
    return [
        name,
        str(workers),
        str(count),
        totals,
        f"{count / costs.clock:.0f}",
        each,
        f"{middle:.0f} ({late:.0f})",
    ]


def _storage(name: str, stack: ExitStack) -> Storage:
    if name == "postgres":
        server = stack.enter_context(controlled_server(PASSWORD))
        url = f"postgresql+psycopg2://{USER}:${{oc.env:STUDY_PASSWORD}}@127.0.0.1:{server.port}/postgres"
        return Storage(url, server.pid)
    return Storage("journal" if name == "journal" else None)


if __name__ == "__main__":
    main()
