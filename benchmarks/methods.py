"""Every method at its default settings: test accuracy, size and time, as a table for docs/methods.md.

    python benchmarks/methods.py [--methods lora dora] [--seeds 0 1 2] [--name methods] [key=value ...]

Runs the grid of sweeps/methods.yaml, one seed after another, then reads each trial's saved adapter back and
evaluates it on the test split. All of it takes hours on a CPU; when it was cut off, the same command goes on.
The time of an epoch is that of a trial beside the others of its sweep: more than it would take alone.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from finesweep.commands.methods import methods
from finesweep.config.build import register_resolvers
from finesweep.runs.fitting import evaluate_saved
from finesweep.runs.layout import RunFolder
from finesweep.system.records import read_json

TRAIN = Path(__file__).parents[1] / "train.py"


def sweep(names: list[str], seed: int, study: str, words: list[str]) -> list[tuple[str, Path]]:
    """Train what isn't trained yet of every method; return each trial's method and folder."""
    axes = [f"peft={','.join(names)}", f"seed={seed}"]
    settings = [f"name={study}", "tracker=none", f"hydra.sweeper.n_trials={len(names)}"]
    command = [sys.executable, str(TRAIN), "-m", "hydra/sweeper/sampler=grid", "hydra/sweeper/pruner=none"]
    subprocess.run([*command, *axes, *settings, *words], check=True)
    leaderboard = Path("outputs", "sweeps", study, "leaderboard.csv")
    rows = list(csv.DictReader(leaderboard.open()))
    trials = leaderboard.parent / "trials"
    return [(row.get("peft", names[0]), trials / row["number"]) for row in rows if row["state"] == "complete"]


def measured(path: Path) -> dict[str, Any]:
    """Return a trial's figures, its test split evaluated if it wasn't yet."""
    folder = RunFolder(path)
    if "test/accuracy" not in read_json(folder.result)["metrics"]:
        evaluate_saved(folder, "test")
    result = read_json(folder.result)
    adapter = sum(file.stat().st_size for file in folder.adapter.glob("*.safetensors"))
    return {
        "test": result["metrics"]["test/accuracy"],
        "validation": result["metrics"]["validation/accuracy"],
        "trainable": result["parameters"]["trainable"],
        "bytes": adapter,
        "seconds": epoch_seconds(folder.metrics),
    }


def epoch_seconds(metrics: Path) -> float:
    """Return how long the steps of an epoch take: a run's median step, times their number."""
    lines = map(json.loads, metrics.read_text().splitlines())
    steps = [line for line in lines if "train/loss" in line]
    times = [after["time"] - before["time"] for before, after in itertools.pairwise(steps)]
    return statistics.median(times) / steps[0]["epoch"]


def row(name: str, runs: list[dict[str, Any]]) -> str:
    """Return a method's line of the table; the time is that of its fastest run."""
    test, validation = (spread([run[split] for run in runs]) for split in ("test", "validation"))
    size = f"{runs[0]['trainable']:,} | {runs[0]['bytes'] / 2**20:.2f}"
    seconds = min(run["seconds"] for run in runs)
    return f"| `{name}` | {test} | {validation} | {len(runs)} | {size} | {seconds:.0f} |"


def spread(scores: list[float]) -> str:
    """Return a mean, with the standard deviation where there is one."""
    deviation = f" ± {statistics.stdev(scores):.3f}" if len(scores) > 1 else ""
    return f"{statistics.mean(scores):.3f}{deviation}"


def main() -> None:
    """Train, evaluate and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", nargs="+", default=[method.name for method in methods()])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--name", default="methods")
    parser.add_argument("words", nargs="*")
    options = parser.parse_args()
    register_resolvers()
    found: dict[str, list[dict[str, Any]]] = {}
    for seed in options.seeds:
        for method, path in sweep(options.methods, seed, f"{options.name}-{seed}", options.words):
            found.setdefault(method, []).append(measured(path))
    print("| method | test accuracy | validation | seeds | trained parameters | saved, MiB | s/epoch |")
    print("|---|---|---|---|---|---|---|")
    for name in sorted(found, key=lambda name: -statistics.mean(run["test"] for run in found[name])):
        print(row(name, found[name]))


if __name__ == "__main__":
    main()
