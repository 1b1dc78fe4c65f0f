"""How long two workers wait when trials last 1 s or 10 s: finesweep beside the official Optuna sweeper.

    python benchmarks/sweep_idle.py --official PATH_TO_PYTHON

Idle: of the time from the first trial's begin to the begin of the last one, the share in which a worker
runs nothing. The trials are the same in both: 12 short and 12 long, in one shuffled order. See
sweep_overhead.py for the official sweeper's environment.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

from sweep_overhead import AXES, official, ours

WORKERS = 2
SLEEPS = [1, 10, 1, 1, 10, 10, 1, 10, 1, 10, 10, 1, 1, 1, 10, 1, 10, 10, 1, 10, 1, 10, 1, 10]


def jobs_of(command: list[str]) -> list[tuple[float, float]]:
    """Run a command and return when its jobs began and ended."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        subprocess.run(
            command, cwd=folder, env={**os.environ, "LOG": str(log)}, check=True, capture_output=True
        )
        lines = [line.split() for line in log.read_text().splitlines()]
    return [(float(begin), float(end)) for _, begin, end in lines]


def idle_share(jobs: list[tuple[float, float]]) -> float:
    """Return the idle share of the workers until the last job was handed out."""
    first, last = min(begin for begin, _ in jobs), max(begin for begin, _ in jobs)
    busy = sum(min(end, last) - begin for begin, end in jobs)
    return 1 - busy / (WORKERS * (last - first))


def main() -> None:
    """Run both and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--official", required=True, type=os.path.abspath)
    arguments = parser.parse_args()
    words = [f"sleeps={SLEEPS}".replace(" ", ""), *AXES]
    print("| sweeper | idle | whole command |")
    print("|---|---|---|")
    for name, command in (
        ("finesweep", ours(len(SLEEPS), WORKERS, words)),
        ("official", official(arguments.official, len(SLEEPS), WORKERS, words)),
    ):
        jobs = jobs_of(command)
        assert len(jobs) == len(SLEEPS), len(jobs)
        took = max(end for _, end in jobs) - min(begin for begin, _ in jobs)
        print(f"| {name} | {idle_share(jobs):.1%} | {took:.0f} s |", flush=True)


if __name__ == "__main__":
    main()
