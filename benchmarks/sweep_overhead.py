"""Time per no-op trial: finesweep beside the official Hydra Optuna sweeper, in one run.

    python benchmarks/sweep_overhead.py --official PATH_TO_PYTHON [--trials 100 200 1000] [--repeats 3]

The official sweeper (1.4.0rc3) needs an environment of its own:

    python3 -m venv .venv-official
    .venv-official/bin/pip install --pre hydra-optuna-sweeper==1.4.0rc3 hydra-joblib-launcher
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
APPLICATION = str(HERE / "noop.py")
AXES = ["x=interval(-5,5)", "y=choice(1,2,3)"]
QUIET = ["hydra/job_logging=none", "hydra/hydra_logging=none"]


def official(python: str, trials: int, workers: int, axes: Sequence[str] = AXES) -> list[str]:
    """Return the official sweeper's command line."""
    launcher = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={workers}"] if workers > 1 else []
    settings = [
        f"hydra.sweeper.n_trials={trials}",
        f"hydra.sweeper.n_jobs={workers}",
        "hydra.sweeper.direction=minimize",
    ]
    return [python, APPLICATION, "-m", "hydra/sweeper=optuna", *launcher, *settings, *QUIET, *axes]


def ours(trials: int, workers: int, axes: Sequence[str] = AXES) -> list[str]:
    """Return finesweep's command line."""
    settings = [
        f"hydra.sweeper.n_trials={trials}",
        f"hydra.sweeper.n_jobs={workers}",
        "hydra.sweeper.direction=minimize",
    ]
    search = [
        f"hydra.searchpath=[file://{HERE.parent / 'conf'}]",
        "hydra/sweeper=finesweep",
        "hydra/sweeper/pruner=none",
    ]
    return [sys.executable, APPLICATION, "-m", *search, *settings, *QUIET, "hydra.output_subdir=null", *axes]


def seconds(command: list[str]) -> float:
    """Run a command in an empty folder and return its wall time."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        took = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    return took


def main() -> None:
    """Run the pairs in turn and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--official",
        required=True,
        type=os.path.abspath,
        help="Python of the environment with the official sweeper",
    )
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 200, 1000])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    print(
        "| trials | workers | finesweep, ms/trial | official, ms/trial | finesweep / official (min to max) |"
    )
    print("|---|---|---|---|---|")
    for trials in arguments.trials:
        for workers in (1, 2):
            pairs = [
                (seconds(ours(trials, workers)), seconds(official(arguments.official, trials, workers)))
                for _ in range(arguments.repeats)
            ]
            a, b = (1000 * statistics.median(column) / trials for column in zip(*pairs, strict=True))
            ratios = [mine / theirs for mine, theirs in pairs]
            spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            print(f"| {trials} | {workers} | {a:.0f} | {b:.0f} | {spread} |", flush=True)


if __name__ == "__main__":
    main()
