"""A metric of any choice of a split's rows, quickly: a bootstrap asks for thousands.

Most metrics are a function of sums over the rows: for each label, how many are found, true, and both; or
products of numbers. They need no more than the sums for each choice. What is left, such as areas under
curves, is computed anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from finesweep.data.labels import MULTI, REGRESSION, SINGLE, TOKENS
from finesweep.data.spans import find_spans
from finesweep.metrics.computation import compute_metrics
from finesweep.metrics.counts import Counts
from finesweep.metrics.intervals import taken

if TYPE_CHECKING:
    from finesweep.data.labels import LabelSchema
    from finesweep.metrics.scores import Scored

SMALLEST_SHARE = 2.220446049250313e-16  # what scikit-learn's log loss takes 0 for
ROWS, RIGHT, SURPRISE = range(3)  # the first columns of rows with labels
ROUNDING = 1e-12
Formula = Callable[[Any], float]


@dataclass(frozen=True)
class Measure:
    """A metric of one run's predictions, called with the numbers of some rows, with repetitions.

    Args:
        rows: how many there are.
        of: from an array of row numbers to the metric.
        of_times: from how often each row stands in each of some choices, (choices, rows), to the metric of
            each; None where it isn't made of sums.
    """

    rows: int
    of: Callable[[Any], float]
    of_times: Callable[[Any], Any] | None = None

    @property
    def is_fast(self) -> bool:
        """Whether it is made of sums."""
        return self.of_times is not None

    def __call__(self, rows: Any) -> float:
        return self.of(rows)


def measure(metric: str, scored: Scored, schema: LabelSchema) -> Measure:
    """Return what measures a split's predictions by a metric, `compute_metrics` on all its rows."""
    columns, formulas = _summed(scored, schema)
    count = len(scored.truth)
    if metric not in formulas:
        return Measure(count, lambda rows: compute_metrics([metric], taken(scored, rows), schema)[metric])
    formula = formulas[metric]
    if formula in (_share_right, _mean_surprise):  # which read nothing of single labels
        columns = columns[:, : SURPRISE + 1].copy()
    of_times = partial(_of_sums, columns, formula)
    return Measure(count, lambda rows: float(of_times(times_of(rows[None], count))[0]), of_times)


def times_of(choices: Any, rows: int) -> Any:
    """Return how often each row stands in each choice, (choices, rows).

    Args:
        choices: numbers of rows, (choices, any number).
        rows: how many there are.
    """
    import numpy as np

    places = choices + rows * np.arange(len(choices))[:, None]
    return np.bincount(places.ravel(), minlength=rows * len(choices)).reshape(-1, rows)


def _of_sums(columns: Any, formula: Formula, times: Any) -> Any:
    import numpy as np

    with np.errstate(divide="ignore", invalid="ignore"):  # what is undefined is NaN
        return np.array([formula(sums) for sums in times @ columns], float)


def _summed(scored: Scored, schema: LabelSchema) -> tuple[Any, Mapping[str, Formula]]:
    """Return what is summed, (rows, sums), and the metrics that are formulas of it."""
    kinds = {SINGLE: _single, MULTI: _multi, REGRESSION: _regression, TOKENS: _tokens}
    return kinds[schema.problem_type](scored, schema)


def _single(scored: Scored, schema: LabelSchema) -> tuple[Any, Mapping[str, Formula]]:
    import numpy as np

    truth, ids = np.asarray(scored.truth), np.arange(len(schema.names))
    found, true = np.asarray(scored.predicted)[:, None] == ids, truth[:, None] == ids
    surprise = np.zeros(len(truth))
    if scored.probabilities is not None:
        shares = scored.probabilities / scored.probabilities.sum(axis=1, keepdims=True)
        surprise = -np.log(np.maximum(shares[np.arange(len(truth)), truth], SMALLEST_SHARE))
    return _labelled(found, true, surprise), {
        "accuracy": _share_right,
        "f1_micro": _share_right,
        "log_loss": _mean_surprise,
        "balanced_accuracy": lambda sums: _counts(sums).balanced_accuracy(),
        "f1_macro": lambda sums: _counts(sums).macro_f1(),
        "f1_weighted": lambda sums: _counts(sums).weighted_f1(),
        "matthews_correlation": lambda sums: _counts(sums).matthews_correlation(),
    }


def _multi(scored: Scored, schema: LabelSchema) -> tuple[Any, Mapping[str, Formula]]:
    import numpy as np

    found, true = np.asarray(scored.predicted, bool), np.asarray(scored.truth, bool)
    shares = np.where(true, scored.probabilities, 1 - scored.probabilities)
    surprise = -np.log(np.maximum(shares, SMALLEST_SHARE)).mean(axis=1)
    return _labelled(found, true, surprise), {
        "subset_accuracy": _share_right,
        "log_loss": _mean_surprise,
        "f1_micro": lambda sums: _counts(sums).micro_f1(),
        "f1_macro": lambda sums: _counts(sums).macro_f1(),
    }


def _labelled(found: Any, true: Any, surprise: Any) -> Any:
    """Return the columns of rows with labels: ROWS, RIGHT, SURPRISE, and then three for each label."""
    import numpy as np

    first = np.column_stack([np.ones(len(true)), (found == true).all(axis=1), surprise])
    return np.column_stack([first, found & true, found, true]).astype(float)


def _regression(scored: Scored, schema: LabelSchema) -> tuple[Any, Mapping[str, Formula]]:
    import numpy as np

    found, true = (np.asarray(side, float) for side in (scored.predicted, scored.truth))
    off = found - true
    # Large numbers would lose digits in their squares.
    found, true = found - found.mean(), true - true.mean()
    numbers = [np.ones(len(true)), off**2, np.abs(off), found, true, found**2, true**2, found * true]
    return np.column_stack(numbers), {
        "mse": lambda sums: sums[1] / sums[0],
        "mae": lambda sums: sums[2] / sums[0],
        "rmse": lambda sums: (sums[1] / sums[0]) ** 0.5,
        "r2": lambda sums: 1 - sums[1] / _spread(sums[0], sums[4], sums[6]),
        "pearson": _pearson,
    }


def _tokens(scored: Scored, schema: LabelSchema) -> tuple[Any, Mapping[str, Formula]]:
    import numpy as np

    rows = []
    for tags, truth in zip(scored.predicted, scored.truth, strict=True):
        found, true = set(find_spans(tags, schema.names)), set(find_spans(truth, schema.names))
        right = sum(one == other for one, other in zip(tags, truth, strict=True))
        rows.append([len(found & true), len(found), len(true), right, len(truth)])
    return np.array(rows, float), {
        "span_f1": lambda sums: 2 * sums[0] / (sums[1] + sums[2]) if sums[1] + sums[2] else 0.0,
        "span_precision": lambda sums: sums[0] / sums[1] if sums[1] else 0.0,
        "span_recall": lambda sums: sums[0] / sums[2] if sums[2] else 0.0,
        "token_accuracy": lambda sums: sums[3] / sums[4],
    }


def _share_right(sums: Any) -> float:
    return sums[RIGHT] / sums[ROWS]


def _mean_surprise(sums: Any) -> float:
    return sums[SURPRISE] / sums[ROWS]


def _counts(sums: Any) -> Counts:
    """Return for each label how many rows are right, found and true."""
    return Counts(*sums[SURPRISE + 1 :].reshape(3, -1))


def _spread(count: float, total: float, squares: float) -> float:
    """Return the sum of squared distances from the mean; NaN where all numbers are the same."""
    spread = squares - total**2 / count
    return spread if spread > ROUNDING * squares else float("nan")


def _pearson(sums: Any) -> float:
    count, _, _, found, true, found_squares, true_squares, products = sums
    both = _spread(count, found, found_squares) * _spread(count, true, true_squares)
    return (products - found * true / count) / both**0.5
