"""A table of `search_worth.py`: the learning curve and the test score of every point of a grid, over seeds."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet
from worth_data import DATA_SETS

TRAIN = Path(__file__).parents[1] / "train.py"
HEADER = b"search_worth"
RANK, RATE = "peft.r", "trainer.learning_rate"
COLUMNS = {
    RANK: pa.int32(),
    RATE: pa.float64(),
    "seed": pa.int32(),
    "evaluation": pa.int32(),
    "step": pa.int32(),
    "metric": pa.float32(),
    "loss": pa.float32(),
    "test": pa.float32(),
    "seconds": pa.float32(),
}
Point = tuple[int, float]


@dataclass(frozen=True)
class Curve:
    """A training run.

    Args:
        metric: the objective after each evaluation.
        loss: of validation, after each.
        test: the score of the best evaluation's weights on the test split.
        seconds: since the run began, at each evaluation.
    """

    metric: tuple[float, ...]
    loss: tuple[float, ...]
    test: float
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class Table:
    """Every point of a grid, trained with each seed.

    Args:
        header: how it was made.
        curves: by point and seed.
    """

    header: dict[str, Any]
    curves: dict[Point, dict[int, Curve]] = field(repr=False)

    @property
    def ranks(self) -> list[int]:
        """In order."""
        return sorted({rank for rank, _ in self.curves})

    @property
    def rates(self) -> list[float]:
        """In order."""
        return sorted({rate for _, rate in self.curves})

    @property
    def seeds(self) -> list[int]:
        """Those that every point was trained with."""
        return sorted(set.intersection(*(set(by_seed) for by_seed in self.curves.values())))

    @property
    def default(self) -> Point:
        """The config as it stands."""
        return self.nearest(*self.header["default"])

    def nearest(self, rank: int, rate: float) -> Point:
        """Return the grid's point for one of the space: its rank, and the rate of the nearest ratio."""
        assert rank in self.ranks, f"{rank} is not among {self.ranks}"
        return rank, min(self.rates, key=lambda own: abs(math.log(own / rate)))

    def truth(self, point: Point) -> float:
        """Return what a point is worth: its test score, the mean over its seeds."""
        scores = [self.curves[point][seed].test for seed in self.seeds]
        return sum(scores) / len(scores)

    @property
    def best(self) -> float:
        """What the best point is worth; the largest of noisy means, so a little too much."""
        return max(map(self.truth, self.curves))


def read_table(path: Path) -> Table:
    """Read a table from its file."""
    table = parquet.read_table(path)
    rows: dict[tuple[Point, int], list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        rows.setdefault(((row[RANK], row[RATE]), row["seed"]), []).append(row)
    curves: dict[Point, dict[int, Curve]] = {}
    for (point, seed), lines in rows.items():
        lines.sort(key=lambda line: line["evaluation"])
        columns = [tuple(line[name] for line in lines) for name in ("metric", "loss", "seconds")]
        curves.setdefault(point, {})[seed] = Curve(columns[0], columns[1], lines[0]["test"], columns[2])
    return Table(json.loads(table.schema.metadata[HEADER]), curves)


def write_table(path: Path, rows: Iterable[dict[str, Any]], header: dict[str, Any]) -> None:
    """Write a table's file: one row for each evaluation."""
    schema = pa.schema(list(COLUMNS.items()), metadata={HEADER: json.dumps(header)})
    table = pa.Table.from_pylist(sorted(rows, key=lambda row: [row[name] for name in COLUMNS]), schema)
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path, compression="zstd")


@dataclass(frozen=True)
class Grid:
    """What is trained, and how.

    Args:
        ranks: of the adapter.
        rates: of learning.
        seeds: of each point.
        epochs: of each run.
        tokens: at most, of a text.
        slots: trials that train together in a worker.
        workers: processes.
        words: more of the command line.
    """

    ranks: Sequence[int]
    rates: Sequence[float]
    seeds: Sequence[int]
    epochs: int = 3
    tokens: int = 64
    slots: int = 1
    workers: int = 1
    words: Sequence[str] = ()

    @property
    def size(self) -> int:
        """How many runs it has."""
        return len(self.ranks) * len(self.rates) * len(self.seeds)

    def command(self, name: str, data: Path) -> list[str]:
        """Return the sweep of a data set; `purpose=confirm` lets each trial read the test split."""
        own = DATA_SETS[name]
        files = [f"data.source.{split}={data / name / split}.csv.gz" for split in ("train", "validation", "test")]
        axes = {"seed": self.seeds, RANK: self.ranks, RATE: self.rates}
        return [
            sys.executable, str(TRAIN), "-m", "data=csv", *files, *own.words, f"objective.metric={own.metric}",
            *(f"{key}={','.join(map(str, values))}" for key, values in axes.items()),
            f"tokenizer.max_length={self.tokens}", f"trainer.num_train_epochs={self.epochs}",
            "hydra/sweeper/sampler=grid", "hydra/sweeper/pruner=none", "hydra.sweeper.purpose=confirm",
            f"hydra.sweeper.n_trials={self.size}", f"hydra.sweeper.n_jobs={self.workers}",
            f"hydra.sweeper.trials_per_worker={self.slots}", f"name={name}", "tracker=none", "baseline=none",
            *self.words,
        ]  # fmt: skip


def make_table(name: str, data: Path, grid: Grid, tables: Path, limit_s: float | None = None) -> str:
    """Train a data set's grid, write its table, and say what came of it.

    A sweep that is out of time leaves the trials that it completed.
    """
    command, began = grid.command(name, data), time.monotonic()
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with tempfile.TemporaryDirectory() as folder:
        log, ended = Path(folder, "log.txt"), "ended"
        with log.open("w") as output:
            process = subprocess.Popen(command, cwd=folder, env=env, stdout=output, stderr=subprocess.STDOUT)
            try:
                ended = f"ended with {process.wait(limit_s)}"
            except subprocess.TimeoutExpired:
                process.terminate()
                process.wait()
                ended = f"was stopped after {limit_s:.0f} s"
        took = time.monotonic() - began
        rows = [row for run in sorted(Path(folder).glob(f"outputs/sweeps/{name}/trials/*")) for row in curve(run)]
        runs = {(row["seed"], row[RANK], row[RATE]) for row in rows}
        said = f"{name}: {len(runs)} of {grid.size} runs in {took:.0f} s; the sweep {ended}"
        if not rows:
            return f"{said}\n{log.read_text()[-3000:]}"
    write_table(tables / f"{name}.parquet", rows, header(name, grid, took, len(runs)))
    return f"{said}, {3600 * len(runs) / took:.0f} runs an hour"


def curve(run: Path) -> list[dict[str, Any]]:
    """Return the rows of a finished run's folder; none of one that isn't finished."""
    if not (run / "result.json").is_file():
        return []
    result, config = json.loads((run / "result.json").read_text()), _config(run)
    metric = result["objective"]["metric"]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    evaluated = [line for line in lines if f"validation/{metric}" in line]
    point = {RANK: config["peft"]["r"], RATE: config["trainer"]["learning_rate"], "seed": config["seed"]}
    return [
        {
            **point, "evaluation": number, "step": line["step"], "metric": line[f"validation/{metric}"],
            "loss": line["validation/loss"], "test": result["metrics"][f"test/{metric}"],
            "seconds": line["time"],
        }
        for number, line in enumerate(evaluated, 1)
    ]  # fmt: skip


def _config(run: Path) -> dict[str, Any]:
    from finesweep.config.saved import read_config

    return read_config(run / "config.yaml")


def header(name: str, grid: Grid, seconds: float, runs: int) -> dict[str, Any]:
    """Say how a table was made."""
    import peft
    import torch
    import transformers

    own = DATA_SETS[name]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    return {
        "data": name, "description": own.description, "source": own.source, "metric": own.metric,
        "model": "all-MiniLM-L6-v2", "peft": "lora, all-linear", "default": [8, 2e-3],
        "command": [Path(word).name if "/" in word else word for word in grid.command(name, Path())[1:]],
        "runs": runs, "seconds": round(seconds), "slots": grid.slots, "device": device,
        "torch": torch.__version__, "transformers": transformers.__version__, "peft_version": peft.__version__,
        "commit": _commit(),
    }  # fmt: skip


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=TRAIN.parent, capture_output=True, text=True)
    return done.stdout.strip()
