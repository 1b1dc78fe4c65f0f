"""Metrics of any number of labels for each row; what is more than counts is scikit-learn's arithmetic."""

# evaluate's base class types no arguments, and scikit-learn's annotations are inferred from its defaults.
# pyright: reportIncompatibleMethodOverride=false, reportArgumentType=false
from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from sklearn import metrics as sklearn_metrics

from finesweep.metrics.base import ONE_FOR_EACH_LABEL, PROBABILITIES, LocalMetric, mean_of_defined
from finesweep.metrics.counts import counts_of_tables
from finesweep.metrics.ranking import macro_average_precision, macro_roc_auc


class MicroF1(LocalMetric):
    """F1 over all pairs of row and label; 0 when there is nothing to find and nothing found."""

    PREDICTIONS = REFERENCES = ONE_FOR_EACH_LABEL

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        return {"f1_micro": counts_of_tables(predictions, references).micro_f1()}


class MacroF1(LocalMetric):
    """F1 averaged over the labels that occur, true or predicted, with equal weights; 0 if none does."""

    PREDICTIONS = REFERENCES = ONE_FOR_EACH_LABEL

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        score = mean_of_defined(counts_of_tables(predictions, references).f1_of_each().tolist())
        return {"f1_macro": 0.0 if math.isnan(score) else score}


class PerClassF1(LocalMetric):
    """F1 of each label; 0 for a label that is neither predicted nor present."""

    PREDICTIONS = REFERENCES = ONE_FOR_EACH_LABEL

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        scores = np.nan_to_num(counts_of_tables(predictions, references).f1_of_each())
        return {f"f1/{name}": score for name, score in zip(label_names, scores, strict=True)}


class SubsetAccuracy(LocalMetric):
    """Share of rows for which every label is right."""

    PREDICTIONS = REFERENCES = ONE_FOR_EACH_LABEL

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        is_right = np.asarray(references) == np.asarray(predictions)
        return {"subset_accuracy": is_right.all(axis=1).mean()}


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
