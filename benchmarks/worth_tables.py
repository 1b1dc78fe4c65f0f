"""A table of `search_worth.py`: learning curves and test scores of every point of a grid, over seeds."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

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
    "predicted": pa.list_(pa.float32()),
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
        predicted: of each validation row, by the weights that were tested: a label's place, or a number.
    """

    metric: tuple[float, ...]
    loss: tuple[float, ...]
    test: float
    seconds: tuple[float, ...]
    predicted: tuple[float, ...] = ()


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
        return statistics.fmean(self.curves[point][seed].test for seed in self.seeds)

    @property
    def ranking(self) -> list[Point]:
        """All points, best first by their objective on validation, the mean over the seeds."""

        def score(point: Point) -> float:
            return statistics.fmean(max(self.curves[point][seed].metric) for seed in self.seeds)

        return sorted(self.curves, key=lambda point: -score(point))

    @cached_property
    def noise(self) -> float:
        """The standard error of what a point is worth, from how its seeds differ; of the better third."""
        if len(self.seeds) < 2:
            return 0.0
        better = sorted(self.curves, key=lambda point: -self.truth(point))[: math.ceil(len(self.curves) / 3)]
        variances = [
            statistics.variance([self.curves[point][seed].test for seed in self.seeds]) for point in better
        ]
        return math.sqrt(statistics.fmean(variances) / len(self.seeds))

    @cached_property
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
        predicted = tuple(lines[0].get("predicted") or ())
        curve = Curve(columns[0], columns[1], lines[0]["test"], columns[2], predicted)
        curves.setdefault(point, {})[seed] = curve
    return Table(json.loads(table.schema.metadata[HEADER]), curves)


def write_table(path: Path, rows: Iterable[dict[str, Any]], header: dict[str, Any]) -> None:
    """Write a table's file: one row for each evaluation."""
    schema = pa.schema(list(COLUMNS.items()), metadata={HEADER: json.dumps(header)})
    table = pa.Table.from_pylist(sorted(rows, key=lambda row: [row[name] for name in COLUMNS]), schema)
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path, compression="zstd")
