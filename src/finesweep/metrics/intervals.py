"""How far a metric may be luck: bootstrap intervals over the rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finesweep.metrics.computation import compute_metrics

if TYPE_CHECKING:
    from finesweep.data.labels import LabelSchema
    from finesweep.metrics.scores import Scored

COVERAGE = 0.95
RESAMPLES = 1000
# Of many rows a resample is dear and an interval narrow.
MANY_ROWS, FEW_RESAMPLES = 20_000, 200


@dataclass(frozen=True)
class Interval:
    """A metric and where 95% of its resampled values lie; NaN where it is undefined."""

    value: float
    low: float
    high: float


def intervals(
    chosen: Sequence[str],
    scored: Scored,
    schema: LabelSchema,
    seed: int = 0,
    advance: Callable[[int], None] = lambda count: None,
    resamples: int | None = None,
) -> dict[str, Interval]:
    """Compute metrics with their percentile bootstrap intervals (Efron and Tibshirani 1993, chapter 13).

    They say what other rows of the same kind could have given; not what another seed would have.

    Args:
        chosen: as compute_metrics takes them.
        scored: one row or more.
        schema: of its labels.
        seed: of the resamples.
        advance: is called with 1 after each resample.
        resamples: how many; left out, `num_resamples`.
    """
    import numpy as np

    count = len(scored.truth)
    random = np.random.default_rng(seed)
    values = compute_metrics(chosen, scored, schema)
    found: dict[str, list[float]] = {name: [] for name in values}
    for _ in range(resamples or num_resamples(count)):
        again = compute_metrics(chosen, taken(scored, random.integers(count, size=count)), schema)
        for name, value in again.items():
            found.setdefault(name, []).append(value)
        advance(1)
    return {name: Interval(value, *_middle(found[name])) for name, value in values.items()}


def num_resamples(rows: int) -> int:
    """Return how many resamples the intervals of so many rows are made of."""
    return RESAMPLES if rows <= MANY_ROWS else FEW_RESAMPLES


def taken(scored: Scored, rows: Any) -> Scored:
    """Return some rows of a split's predictions, with repetitions.

    Args:
        scored: the split.
        rows: positions, an array of whole numbers.
    """
    from dataclasses import replace

    def chosen(values: Any) -> Any:
        if values is None:
            return None
        return [values[row] for row in rows] if isinstance(values, list) else values[rows]

    return replace(
        scored,
        predicted=chosen(scored.predicted),
        truth=chosen(scored.truth),
        probabilities=chosen(scored.probabilities),
    )


def _middle(values: Sequence[float]) -> tuple[float, float]:
    """Return the quantiles that leave out as much on each side; undefined values are left out."""
    import numpy as np

    defined = [value for value in values if value == value]
    if not defined:
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2]).tolist()
    return low, high
