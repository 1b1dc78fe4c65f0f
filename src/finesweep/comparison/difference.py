"""Whether one group of runs really predicts better than another: a paired bootstrap over the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finesweep.data.labels import MULTI, REGRESSION, SINGLE, TOKENS
from finesweep.metrics.intervals import COVERAGE, taken
from finesweep.scores import Scored

if TYPE_CHECKING:
    from finesweep.comparison.groups import Group, Run
    from finesweep.data.labels import LabelSchema

RESAMPLES = 2000
# Of metrics that must be computed anew for each resample.
FEW_RESAMPLES = 500


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
        key: which rows they are: number and hash of each text, in order.
        scored: the predictions.
    """

    key: tuple[tuple[int, str], ...]
    scored: Scored


def answers(run: Run, split: str) -> Answers | None:
    """Read a run's predictions of a split; None where it has none."""
    from pyarrow import parquet

    file = run.folder.predictions / f"{split}.parquet"
    if not file.is_file() or not run.folder.splits.is_file():
        return None
    table = parquet.read_table(file).to_pydict()
    rows = parquet.read_table(run.folder.splits, filters=[("split", "=", split)]).to_pydict()
    hashes = dict(zip(rows["id"], rows["hash"], strict=True))
    key = tuple((number, hashes[number]) for number in table["id"])
    return Answers(key, _scored(table, run.schema))


def difference(
    metric: str, first: Group, second: Group, split: str, *, maximizes: bool, seed: int = 0
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
    """
    import numpy as np

    found = [[answers(run, split) for run in one.runs] for one in (first, second)]
    known = [[one for one in some if one is not None] for some in found]
    if any(len(some) < len(all_) for some, all_ in zip(known, found, strict=True)):
        return None
    keys = {one.key for some in known for one in some}
    if len(keys) != 1:
        return None
    schema, count = first.runs[0].schema, len(known[0][0].key)
    measures = [[_measure(metric, one.scored, schema) for one in some] for some in known]
    is_fast = all(measure.per_row is not None for some in measures for measure in some)
    random = np.random.default_rng(seed)
    gaps = []
    for _ in range(RESAMPLES if is_fast else FEW_RESAMPLES):
        rows = random.integers(count, size=count)
        means = [
            np.mean([some[i](rows) for i in random.integers(len(some), size=len(some))]) for some in measures
        ]
        gaps.append(means[0] - means[1])
    whole = np.arange(count)
    of_first, of_second = (float(np.mean([measure(whole) for measure in some])) for some in measures)
    low, high = np.nanquantile(gaps, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2]).tolist()
    return Difference(of_first - of_second, low, high, _verdict(low, high, maximizes=maximizes), count)


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

    def __call__(self, rows: Any) -> float:
        from finesweep.metrics.computation import raw_metrics

        if self.per_row is not None:
            return float(self.per_row[rows].mean())
        return raw_metrics([self.metric], taken(self.scored, rows), self.schema)[self.metric]


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
