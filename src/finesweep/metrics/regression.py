"""Metrics of one number for each row, in the target's own units; scikit-learn and scipy do the arithmetic."""

# evaluate's base class types no arguments, and scipy's results are typed as tuples.
# pyright: reportIncompatibleMethodOverride=false, reportAttributeAccessIssue=false
from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats
from sklearn import metrics as sklearn_metrics

from finesweep.metrics.base import NUMBER, LocalMetric


class MeanSquaredError(LocalMetric):
    """Mean of the squared differences."""

    PREDICTIONS = REFERENCES = NUMBER

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        return {"mse": sklearn_metrics.mean_squared_error(references, predictions)}


class MeanAbsoluteError(LocalMetric):
    """Mean of the absolute differences."""

    PREDICTIONS = REFERENCES = NUMBER

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        return {"mae": sklearn_metrics.mean_absolute_error(references, predictions)}


class RootMeanSquaredError(LocalMetric):
    """Root of the mean of the squared differences: an error in the target's units."""

    PREDICTIONS = REFERENCES = NUMBER

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        return {"rmse": sklearn_metrics.root_mean_squared_error(references, predictions)}


class R2(LocalMetric):
    """Explained share of the target's variance; below 0 if worse than its mean, NaN if it has none."""

    PREDICTIONS = REFERENCES = NUMBER

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        undefined = _is_constant(references)
        return {"r2": math.nan if undefined else sklearn_metrics.r2_score(references, predictions)}


class Pearson(LocalMetric):
    """Linear correlation; NaN when the predictions or the targets are constant."""

    PREDICTIONS = REFERENCES = NUMBER

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        undefined = _is_constant(references) or _is_constant(predictions)
        return {"pearson": math.nan if undefined else stats.pearsonr(predictions, references).statistic}


class Spearman(LocalMetric):
    """Correlation of the ranks; NaN when the predictions or the targets are constant."""

    PREDICTIONS = REFERENCES = NUMBER

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        undefined = _is_constant(references) or _is_constant(predictions)
        return {"spearman": math.nan if undefined else stats.spearmanr(predictions, references).statistic}


def _is_constant(values: Sequence[float]) -> bool:
    """Tell whether the values differ by no more than rounding; one value alone doesn't."""
    # 1e-12 is ten times scipy's bound for "near constant", where it would warn; float32 rounds at 6e-8.
    return bool(np.ptp(values) <= 1e-12 * np.abs(values).max())
