"""Areas under curves, label by label."""

from __future__ import annotations

import math

import numpy as np
from sklearn import metrics as sklearn_metrics

from finesweep.metrics.base import mean_of_defined


def macro_roc_auc(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Average the area under the ROC curve over the labels that some rows have and some don't.

    Args:
        probabilities: (rows, labels).
        truth: (rows, labels), 1 where the row has the label.

    Returns:
        NaN when there is no such label.
    """
    return mean_of_defined(
        sklearn_metrics.roc_auc_score(has, scores) if 0 < has.sum() < len(has) else math.nan
        for has, scores in zip(truth.T, probabilities.T, strict=True)
    )


def macro_average_precision(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Average the average precision (a step-wise area under the PR curve) over the labels that occur.

    Args:
        probabilities: (rows, labels).
        truth: (rows, labels), 1 where the row has the label.

    Returns:
        NaN when no row has any label.
    """
    return mean_of_defined(
        sklearn_metrics.average_precision_score(has, scores) if has.any() else math.nan
        for has, scores in zip(truth.T, probabilities.T, strict=True)
    )
