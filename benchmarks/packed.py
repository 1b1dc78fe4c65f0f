"""Trials per hour when trials train together on one frozen backbone, beside trials that don't.

    python benchmarks/packed.py [--rates 16] [--rows 1900] [--epochs 3] [--slots 16 64] [--workers 1 4]
        [--rounds 1]

Four ranks at `--rates` rates each, LoRA on query and value of MiniLM, 64 tokens, batches of 16, no pruning.
Whole commands are timed, start-up included: `Trainer.hyperparameter_search` (plain.py), finesweep with one
trial at a time in each of `--workers` workers, and with `--slots` trials at a time in one. On a GPU its peak
memory is shown. On a CPU take `--rates 2 --rows 640 --epochs 1 --slots 4 8 --workers 1 2`.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event, Thread

import optuna
from plain import BATCH, RANKS, TOKENS, rates
from sweep_throughput import HERE, accuracies, call, write_data

Peer = Callable[[Path, int], list[float]]


def search(options: argparse.Namespace, folder: Path, seed: int) -> list[float]:
    """Run Trainer.hyperparameter_search."""
    words = [f"seed={seed}", f"rates={options.rates}", f"epochs={options.epochs}"]
    return accuracies(call([sys.executable, str(HERE / "plain.py"), str(folder), *words], folder))


def ours(options: argparse.Namespace, workers: int, slots: int, folder: Path, seed: int) -> list[float]:
    """Run finesweep over the grid."""
    data = [f"data.source.{split}={folder / f'{split}.csv'}" for split in ("train", "validation")]
    words = [
        "data=csv", *data, f"+data.source.test={folder / 'test.csv'}", f"tokenizer.max_length={TOKENS}",
        "peft.target_modules=attention-qv", f"trainer.num_train_epochs={options.epochs}",
        "trainer.eval_strategy=epoch", f"trainer.per_device_train_batch_size={BATCH}",
        "peft.r=" + ",".join(map(str, RANKS)),
        "trainer.learning_rate=" + ",".join(map(str, rates(options.rates))),
        "hydra/sweeper/sampler=grid", "hydra/sweeper/pruner=none", f"hydra.sweeper.n_jobs={workers}",
        f"hydra.sweeper.trials_per_worker={slots}", f"hydra.sweeper.n_trials={len(RANKS) * options.rates}",
        "name=packed", f"seed={seed}", "tracker=none",
    ]  # fmt: skip
    call([sys.executable, str(HERE.parent / "train.py"), "-m", *words], folder)
    storage = f"sqlite:///{folder}/outputs/sweeps/packed/study.db"
    trials = optuna.load_study(study_name="packed", storage=storage).get_trials()
    return [trial.values[0] for trial in trials]


class Memory(Thread):
    """Watches how much of the first GPU's memory is in use; 0 where there is none."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_mib, self._ended = 0, Event()

    def run(self) -> None:
        """Look four times a second."""
        query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        while not self._ended.wait(0.25):
            try:
                done = subprocess.run(query, capture_output=True, text=True, check=True)
            except (OSError, subprocess.CalledProcessError):
                return
            self.peak_mib = max(self.peak_mib, int(done.stdout.split()[0]))

    def stop(self) -> int:
        """Return the peak in MiB."""
        self._ended.set()
        self.join()
        return self.peak_mib


def timed(peer: Peer, rows: int, seed: int, count: int) -> tuple[float, float, int]:
    """Return a peer's seconds, its mean accuracy and the peak of the GPU's memory in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        write_data(Path(folder), min(rows, 1900))  # of 2,225 articles 212 validate and 100 test
        memory, start = Memory(), time.perf_counter()
        memory.start()
        values = peer(Path(folder), seed)
        seconds = time.perf_counter() - start
    assert len(values) == count, values
    return seconds, statistics.mean(values), memory.stop()


def main() -> None:
    """Let the peers take turns, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rates", type=int, default=16)
    parser.add_argument("--rows", type=int, default=1900)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--slots", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    peers: dict[str, Peer] = {"Trainer.hyperparameter_search": partial(search, options)}
    for workers in options.workers:
        peers[f"finesweep, {workers} x 1"] = partial(ours, options, workers, 1)
    for slots in options.slots:
        peers[f"finesweep, 1 x {slots}"] = partial(ours, options, 1, slots)
    count = len(RANKS) * options.rates
    found: dict[str, list[tuple[float, float, int]]] = {name: [] for name in peers}
    for seed in range(options.rounds):
        for name, peer in peers.items():
            found[name].append(timed(peer, options.rows, seed, count))
            print(f"{name}: {found[name][-1][0]:.0f} s", file=sys.stderr, flush=True)

    import torch

    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else platform.processor() or "CPU"
    print(f"{device}, {os.cpu_count()} cores, torch {torch.__version__}")
    print(f"{count} trials of {options.epochs} epochs\n")
    print("| workers x slots | trials/hour | times the search (min to max) | accuracy | peak MiB |")
    print("|---|---|---|---|---|")
    base = [seconds for seconds, _, _ in found["Trainer.hyperparameter_search"]]
    for name, results in found.items():
        took, means, peaks = zip(*results, strict=True)
        ratios = sorted(b / t for b, t in zip(base, took, strict=True))
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        rate = 3600 * count / statistics.median(took)
        print(f"| {name} | {rate:.0f} | {spread} | {statistics.mean(means):.3f} | {max(peaks) or ''} |")


if __name__ == "__main__":
    main()
