"""Whether one group of runs really predicts better than another: a paired bootstrap over the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finesweep.data.labels import MULTI, REGRESSION, SINGLE, TOKENS
from finesweep.metrics.computation import compute_metrics
from finesweep.metrics.intervals import COVERAGE, taken
from finesweep.metrics.registry import LOSS
from finesweep.metrics.scores import Scored
from finesweep.system.records import read_table

if TYPE_CHECKING:
    from finesweep.commands.compare.groups import Group, Run
    from finesweep.data.labels import LabelSchema

RESAMPLES = 2000
# Of metrics that must be computed anew for each resample.
FEW_RESAMPLES = 500
# What a loss is called where it can be computed from saved predictions; there is none for tokens.
AS_LOSS = {SINGLE: "log_loss", MULTI: "log_loss", REGRESSION: "mse"}


@dataclass(frozen=True)
class Difference:
    """How much better one group is than another.

    Args:
        mean: of the metric, first minus second.
        low: where 95% of the resampled differences begin.
        high: where they end.
        verdict: `better`, `worse`, or `not told apart`, of the first.
        rows: how many rows both predicted.
    """

    mean: float
    low: float
    high: float
    verdict: str
    rows: int


@dataclass(frozen=True)
class Answers:
    """A run's predictions of a split, beside the truth.

    Args:
        key: which rows they are: number, hash of the text and label of each, in order.
        scored: the predictions.
    """

    key: tuple[tuple[int, str, str], ...]
    scored: Scored


def answers(run: Run, split: str) -> Answers | None:
    """Read a run's predictions of a split; None where it has none."""
    file = run.folder.predictions / f"{split}.parquet"
    if not file.is_file() or not run.folder.splits.is_file():
        return None
    table = read_table(file, ("id", "label", "predicted"))
    rows = read_table(run.folder.splits, ("split", "id", "hash"))
    found = zip(rows["split"], rows["id"], rows["hash"], strict=True)
    hashes = {number: text for name, number, text in found if name == split}
    labelled = zip(table["id"], table["label"], strict=True)
    key = tuple((number, hashes[number], repr(label)) for number, label in labelled)
    return Answers(key, _scored(table, run.schema))


def difference(
    metric: str,
    first: Group,
    second: Group,
    split: str,
    *,
    maximizes: bool,
    seed: int = 0,
    resamples: int | None = None,
) -> Difference | None:
    """Compare two groups by a metric of the rows that all their runs predicted; None if they differ.

    Each resample draws rows with replacement, the same for all runs, and from each group as many of its
    runs as it has; so the interval covers other rows and other seeds (Efron and Tibshirani 1993). With one
    run in each group it covers rows alone.

    Args:
        metric: its name.
        first: one group.
        second: the other.
        split: `test` or `validation`.
        maximizes: whether more of it is better.
        seed: of the resamples.
        resamples: how many; left out, 2,000, or 500 where each must be computed anew.
    """

    measured = _measured(metric, (first, second), split)
    if measured is None:
        return None
    whole, resampled = _means(measured, seed, resamples)
    low, high = _middle(resampled[:, 0] - resampled[:, 1])
    verdict = _verdict(low, high, maximizes=maximizes)
    return Difference(float(whole[0] - whole[1]), low, high, verdict, measured[0][0].rows)


def spread(metric: str, one: Group, split: str, seed: int = 0) -> tuple[float, float, float] | None:
    """Return a group's mean of a metric and where 95% of its resamples lie; None as for `difference`.

    Rows and runs are drawn as `difference` draws them.
    """
    measured = _measured(metric, (one,), split)
    if measured is None:
        return None
    whole, resampled = _means(measured, seed)
    return (float(whole[0]), *_middle(resampled[:, 0]))


def _measured(metric: str, groups: Sequence[Group], split: str) -> list[list[_Measure]] | None:
    """Return the metric of each group's runs; None where a run has no predictions, or of other rows."""
    found = [[answers(run, split) for run in one.runs] for one in groups]
    known = [[one for one in some if one is not None] for some in found]
    if any(len(some) < len(all_) for some, all_ in zip(known, found, strict=True)):
        return None
    if len({one.key for some in known for one in some}) != 1:
        return None
    schema = groups[0].runs[0].schema
    name = AS_LOSS.get(schema.problem_type) if metric == LOSS else metric
    return [[_measure(name, one.scored, schema) for one in some] for some in known] if name else None


def _means(measured: list[list[_Measure]], seed: int, resamples: int | None = None) -> tuple[Any, Any]:
    """Return each group's mean over its runs: of all rows (groups,), and of resamples (resamples, groups)."""
    import numpy as np

    random, count = np.random.default_rng(seed), measured[0][0].rows
    is_fast = all(measure.per_row is not None for some in measured for measure in some)

    def drawn() -> list[Any]:
        rows = random.integers(count, size=count)
        return [
            np.mean([some[i](rows) for i in random.integers(len(some), size=len(some))]) for some in measured
        ]

    usual = RESAMPLES if is_fast else FEW_RESAMPLES
    resampled = [drawn() for _ in range(resamples or usual)]
    whole = [np.mean([measure(np.arange(count)) for measure in some]) for some in measured]
    return np.array(whole), np.array(resampled)


def _middle(values: Any) -> tuple[float, float]:
    import numpy as np

    low, high = np.nanquantile(values, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2]).tolist()
    return low, high


def _verdict(low: float, high: float, *, maximizes: bool) -> str:
    if low > 0:
        return "better" if maximizes else "worse"
    if high < 0:
        return "worse" if maximizes else "better"
    return "not told apart"


@dataclass(frozen=True)
class _Measure:
    """A metric of some rows of one run's predictions; its mean where it is one."""

    metric: str
    scored: Scored
    schema: LabelSchema
    per_row: Any = None

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.scored.truth)

    def __call__(self, rows: Any) -> float:
        if self.per_row is not None:
            return float(self.per_row[rows].mean())
        return compute_metrics([self.metric], taken(self.scored, rows), self.schema)[self.metric]


def _measure(metric: str, scored: Scored, schema: LabelSchema) -> _Measure:
    import numpy as np

    per_row = None
    if metric == "accuracy" and schema.problem_type == SINGLE:
        per_row = (np.asarray(scored.predicted) == np.asarray(scored.truth)).astype(float)
    elif metric in ("mse", "mae") and schema.problem_type == REGRESSION:
        off = np.abs(np.asarray(scored.predicted) - np.asarray(scored.truth))
        per_row = off**2 if metric == "mse" else off
    return _Measure(metric, scored, schema, per_row)


def _scored(table: dict[str, list[Any]], schema: LabelSchema) -> Scored:
    """Read a predictions file back, in label ids."""
    import numpy as np

    predicted, truth, kind = table["predicted"], table["label"], schema.problem_type
    if kind == TOKENS:
        return Scored(predicted, truth)
    if kind == REGRESSION:
        return Scored(np.array(predicted), np.array(truth))
    probabilities = np.array([table[f"p/{name}"] for name in schema.names]).T
    if kind == MULTI:
        return Scored(_indicators(predicted, schema.names), _indicators(truth, schema.names), probabilities)
    ids = {name: place for place, name in enumerate(schema.names)}
    return Scored(
        np.array([ids[name] for name in predicted]), np.array([ids[name] for name in truth]), probabilities
    )


def _indicators(rows: Sequence[Sequence[str]], names: Sequence[str]) -> Any:
    import numpy as np

    return np.array([[name in row for name in names] for row in rows], int)
