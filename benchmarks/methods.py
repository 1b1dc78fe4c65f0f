"""Every method at its default settings: test accuracy, size and time, as a table for docs/methods.md.

    python benchmarks/methods.py [--methods lora dora] [--seeds 0 1 2] [--name methods] [key=value ...]
    python benchmarks/methods.py --times [--methods lora dora]

Runs the grid of sweeps/methods.yaml, one seed after another, then reads each trial's saved adapter back and
evaluates it on the test split. All of it takes hours on a CPU; when it was cut off, the same command goes on.
The trials of a sweep share the machine, so the time of an epoch is measured apart: a few steps of each method
alone, as `--times`.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import finesweep
from finesweep.config import register_resolvers
from finesweep.methods import methods
from finesweep.rundir import RunFolder, read_json
from finesweep.runner import evaluate_saved

TRAIN = Path(__file__).parents[1] / "train.py"
STEPS = 12


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
        "accuracy": result["metrics"]["test/accuracy"],
        "trainable": result["parameters"]["trainable"],
        "bytes": adapter,
    }


def epoch_seconds(method: str) -> float:
    """Return how long the steps of an epoch take: the median of a few, times their number."""
    with tempfile.TemporaryDirectory() as outputs:
        short = [f"trainer.max_steps={STEPS}", f"trainer.eval_steps={STEPS}"]
        run = finesweep.run([f"peft={method}", *short, "tracker=none", f"output_dir={outputs}"])
        lines = map(json.loads, RunFolder(run.folder).metrics.read_text().splitlines())
        rows = [line for line in lines if "train/loss" in line]
    steps = [after["time"] - before["time"] for before, after in itertools.pairwise(rows)]
    return statistics.median(steps) / rows[0]["epoch"]


def print_times(names: list[str]) -> None:
    """Time an epoch of each method."""
    times = {name: epoch_seconds(name) for name in names}
    print("| method | s/epoch | times the fastest |")
    print("|---|---|---|")
    for name, seconds in sorted(times.items(), key=lambda item: item[1]):
        print(f"| `{name}` | {seconds:.0f} | {seconds / min(times.values()):.2f} |")


def main() -> None:
    """Train, evaluate and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", nargs="+", default=[method.name for method in methods()])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--name", default="methods")
    parser.add_argument("--times", action="store_true", help="only time an epoch of each")
    parser.add_argument("words", nargs="*")
    options = parser.parse_args()
    register_resolvers()
    if options.times:
        print_times(options.methods)
        return
    found: dict[str, list[dict[str, Any]]] = {}
    for seed in options.seeds:
        for method, path in sweep(options.methods, seed, f"{options.name}-{seed}", options.words):
            found.setdefault(method, []).append(measured(path))
    print("| method | test accuracy, mean ± sd | trained parameters | saved, MiB |")
    print("|---|---|---|---|")
    order = sorted(found, key=lambda name: -statistics.mean(run["accuracy"] for run in found[name]))
    for name in order:
        runs = found[name]
        scores = [run["accuracy"] for run in runs]
        spread = f" ± {statistics.stdev(scores):.3f}" if len(scores) > 1 else ""
        first = runs[0]
        print(f"| `{name}` | {statistics.mean(scores):.3f}{spread} | {first['trainable']:,} | "
              f"{first['bytes'] / 2**20:.2f} |")  # fmt: skip


if __name__ == "__main__":
    main()
