"""Many workers on one study: trials that do nothing, handed out to threads of several processes.

    python benchmarks/scale.py [--workers 64 300] [--trials 10000] [--storage postgres journal]

What is measured is the study: taking a trial, choosing its two parameters at random, recording its end, and
the lock around the first. A worker is a thread with a study and connections of its own; PostgreSQL runs with
the settings that it comes with (100 connections). torch isn't imported.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import optuna

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from finesweep.sweeps.holders import Worker
from finesweep.sweeps.patience import patiently
from finesweep.sweeps.plan import Plan, Settings
from finesweep.sweeps.space import Space
from finesweep.sweeps.study import Study
from postgres_server import USER, running_server

PASSWORD = "benchmark"
AXES = {
    "x": optuna.distributions.FloatDistribution(-5, 5),
    "y": optuna.distributions.CategoricalDistribution([1, 2, 3]),
}
PROCESSES = 8


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
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put([pair for one in noted for pair in one])


def measure(
    storage: str | None, folder: Path, n_trials: int, workers: int
) -> tuple[float, list[tuple[int, float]]]:
    """Run a study with so many workers; return the seconds and what each trial cost to take."""
    open_study(storage, folder)  # makes the tables
    processes = min(PROCESSES, workers)
    counts = [workers // processes + (i < workers % processes) for i in range(processes)]
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(processes + 1), context.Queue()
    started = [
        context.Process(target=run_threads, args=(storage, folder, n_trials, count, ready, results))
        for count in counts
    ]
    for process in started:
        process.start()
    ready.wait()
    begin = time.perf_counter()
    pairs = [pair for _ in started for pair in results.get()]
    seconds = time.perf_counter() - begin
    for process in started:
        process.join()
    return seconds, pairs


def alone(storage: str | None, folder: Path, numbers: tuple[int, ...]) -> dict[int, float]:
    """Return the milliseconds that one worker needs for a trial, the median of 30, at some numbers."""
    study, worker, found = open_study(storage, folder), Worker.here(), {}
    known = len(study.trials())
    for number in numbers:
        while known < number:  # filled in bulk: what is there to be read is the same
            study.optuna.add_trial(
                optuna.create_trial(params={"x": 0.0, "y": 1}, distributions=AXES, value=1.0)
            )
            known += 1
        taken = []
        for _ in range(30):
            begin = time.perf_counter()
            trial = study.take(worker, AXES, known + 1)
            assert trial
            study.tell(trial, worker, [0.0])
            taken.append(time.perf_counter() - begin)
            known += 1
        found[number] = 1000 * statistics.median(taken)
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
    arguments = parser.parse_args()
    os.environ["STUDY_PASSWORD"] = PASSWORD
    print(
        "| storage | workers | trials | totals | trials/s | ms to take one, median (95%) |\n"
        "|---|---|---|---|---|---|"
    )
    for name in arguments.storage:
        for workers in arguments.workers:
            with ExitStack() as stack:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                storage = _storage(name, stack)
                if arguments.alone:
                    costs = alone(storage, folder, (100, arguments.trials))
                    print(name, *(f"{cost:.1f} ms at {number}" for number, cost in costs.items()), flush=True)
                    break
                seconds, pairs = measure(storage, folder, arguments.trials, workers)
                taken = sorted(1000 * cost for _, cost in pairs)
                middle, late = statistics.median(taken), taken[int(0.95 * len(taken))]
                totals = check(storage, folder, arguments.trials, pairs)
                rate = arguments.trials / seconds
                row = (name, workers, arguments.trials, totals, f"{rate:.0f}", f"{middle:.0f} ({late:.0f})")
                print(f"| {' | '.join(map(str, row))} |", flush=True)


def _storage(name: str, stack: ExitStack) -> str | None:
    if name == "postgres":
        port = stack.enter_context(running_server(PASSWORD))
        return f"postgresql+psycopg2://{USER}:${{oc.env:STUDY_PASSWORD}}@127.0.0.1:{port}/postgres"
    return "journal" if name == "journal" else None


if __name__ == "__main__":
    main()
