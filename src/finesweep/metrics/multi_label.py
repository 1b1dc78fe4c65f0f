"""Metrics of any number of labels for each row; scikit-learn does the arithmetic.

Labels are scored one by one, since scikit-learn reads a table of one column as two classes.
"""

# evaluate's base class types no arguments, and scikit-learn's annotations are inferred from its defaults.
# pyright: reportIncompatibleMethodOverride=false, reportArgumentType=false
from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from sklearn import metrics as sklearn_metrics

from finesweep.metrics.base import ONE_FOR_EACH_LABEL, PROBABILITIES, LocalMetric, mean_of_defined
from finesweep.metrics.ranking import macro_average_precision, macro_roc_auc


class MicroF1(LocalMetric):
    """F1 over all pairs of row and label; 0 when there is nothing to find and nothing found."""

    PREDICTIONS = REFERENCES = ONE_FOR_EACH_LABEL

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        score = sklearn_metrics.f1_score(np.ravel(references), np.ravel(predictions), zero_division=0)
        return {"f1_micro": score}


class MacroF1(LocalMetric):
    """F1 averaged over the labels that occur, true or predicted, with equal weights; 0 if none does."""

    PREDICTIONS = REFERENCES = ONE_FOR_EACH_LABEL

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        score = mean_of_defined(_f1_of_each(predictions, references))
        return {"f1_macro": 0.0 if math.isnan(score) else score}


class PerClassF1(LocalMetric):
    """F1 of each label; 0 for a label that is neither predicted nor present."""

    PREDICTIONS = REFERENCES = ONE_FOR_EACH_LABEL

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        scores = np.nan_to_num(_f1_of_each(predictions, references))
        return {f"f1/{name}": score for name, score in zip(label_names, scores, strict=True)}


class SubsetAccuracy(LocalMetric):
    """Share of rows for which every label is right."""

    PREDICTIONS = REFERENCES = ONE_FOR_EACH_LABEL

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        score = sklearn_metrics.accuracy_score(np.asarray(references), np.asarray(predictions))
        return {"subset_accuracy": score}


class MeanAveragePrecision(LocalMetric):
    """Average precision, averaged over the labels that occur in the truth; NaN if none does."""

    READS = "probabilities"
    PREDICTIONS = PROBABILITIES
    REFERENCES = ONE_FOR_EACH_LABEL

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        score = macro_average_precision(np.asarray(predictions), np.asarray(references))
        return {"mean_average_precision": score}


class RocAuc(LocalMetric):
    """Area under the ROC curve, averaged over the labels that some rows have and some don't; NaN if none."""

    READS = "probabilities"
    PREDICTIONS = PROBABILITIES
    REFERENCES = ONE_FOR_EACH_LABEL

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        return {"roc_auc": macro_roc_auc(np.asarray(predictions), np.asarray(references))}


class LogLoss(LocalMetric):
    """Mean negative log-probability of what is true, over rows and labels, in nats; 0 counts as 2.2e-16."""

    READS = "probabilities"
    PREDICTIONS = PROBABILITIES
    REFERENCES = ONE_FOR_EACH_LABEL

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        present = np.ravel(predictions)
        shares = np.stack([1 - present, present], axis=1)
        return {"log_loss": sklearn_metrics.log_loss(np.ravel(references), shares, labels=[0, 1])}


def _f1_of_each(predictions: Sequence[Sequence[int]], references: Sequence[Sequence[int]]) -> list[float]:
    """Score each label's column; NaN for a label that is neither predicted nor present."""
    columns = zip(np.asarray(references).T, np.asarray(predictions).T, strict=True)
    return [sklearn_metrics.f1_score(has, found, zero_division=math.nan) for has, found in columns]
