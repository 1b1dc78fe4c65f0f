"""Metrics of one label for each row; what is more than counts is scikit-learn's arithmetic."""

# evaluate's base class types no arguments, and scikit-learn's annotations are inferred from its defaults.
# pyright: reportIncompatibleMethodOverride=false, reportArgumentType=false
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn import metrics as sklearn_metrics

from finesweep.metrics.base import PROBABILITIES, LocalMetric
from finesweep.metrics.counts import counts_of_ids
from finesweep.metrics.ranking import macro_average_precision, macro_roc_auc

CALIBRATION_BINS = 15  # as in Guo et al. 2017


class Accuracy(LocalMetric):
    """Share of rows whose predicted label is the true one."""

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        return {"accuracy": (np.asarray(predictions) == np.asarray(references)).mean()}


class BalancedAccuracy(LocalMetric):
    """Recall averaged over the labels that occur in the truth, each with the same weight."""

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        counts = counts_of_ids(predictions, references, len(label_names))
        return {"balanced_accuracy": counts.balanced_accuracy()}


class MacroF1(LocalMetric):
    """F1 averaged over the labels that occur, true or predicted, each with the same weight."""

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        return {"f1_macro": counts_of_ids(predictions, references, len(label_names)).macro_f1()}


class MicroF1(LocalMetric):
    """F1 over the rows of all labels together; with one label for each row it equals accuracy."""

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        return {"f1_micro": counts_of_ids(predictions, references, len(label_names)).micro_f1()}


class WeightedF1(LocalMetric):
    """F1 averaged over the labels, each with the weight of its true rows."""

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        return {"f1_weighted": counts_of_ids(predictions, references, len(label_names)).weighted_f1()}


class PerClassF1(LocalMetric):
    """F1 of each label; 0 for a label that is neither predicted nor present."""

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        scores = np.nan_to_num(counts_of_ids(predictions, references, len(label_names)).f1_of_each())
        return {f"f1/{name}": score for name, score in zip(label_names, scores, strict=True)}


class MatthewsCorrelation(LocalMetric):
    """Correlation of predicted and true labels: 1 perfect, 0 no better than chance (Matthews 1975).

    0 as well when one side is constant, as scikit-learn has it.
    """

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        counts = counts_of_ids(predictions, references, len(label_names))
        return {"matthews_correlation": counts.matthews_correlation()}


class RocAuc(LocalMetric):
    """Area under the ROC curve: of the second of two labels, else averaged over the labels, one against rest.

    The average is over the labels that some rows have and some don't; NaN when there is none.
    """

    READS = "probabilities"
    PREDICTIONS = PROBABILITIES

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        first = 1 if len(label_names) == 2 else 0
        truth = _one_hot(references, len(label_names))
        return {"roc_auc": macro_roc_auc(np.asarray(predictions)[:, first:], truth[:, first:])}


class PrAuc(LocalMetric):
    """Average precision, averaged over the labels that occur in the truth (of two labels, over both)."""

    READS = "probabilities"
    PREDICTIONS = PROBABILITIES

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        truth = _one_hot(references, len(label_names))
        return {"pr_auc": macro_average_precision(np.asarray(predictions), truth)}


class LogLoss(LocalMetric):
    """Mean negative log-probability of the true label, in nats; a probability of 0 counts as 2.2e-16."""

    READS = "probabilities"
    PREDICTIONS = PROBABILITIES

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        shares = np.asarray(predictions)
        shares = shares / shares.sum(axis=1, keepdims=True)  # a float32 softmax sums to 1 but for rounding
        ids = np.arange(len(label_names))
        return {"log_loss": sklearn_metrics.log_loss(references, shares, labels=ids)}


class ExpectedCalibrationError(LocalMetric):
    """Mean distance between confidence and accuracy, over 15 bins of equal width (Guo et al. 2017).

    A row's confidence is its largest probability; a bin holds its upper edge and weighs by its rows.
    """

    READS = "probabilities"
    PREDICTIONS = PROBABILITIES

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        probabilities = np.asarray(predictions)
        confidence = probabilities.max(axis=1)
        right = probabilities.argmax(axis=1) == np.asarray(references)
        inner_edges = np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1]
        bins = np.digitize(confidence, inner_edges, right=True)
        gaps = np.bincount(bins, weights=right - confidence)  # a bin's rows x (its accuracy - its confidence)
        return {"expected_calibration_error": np.abs(gaps).sum() / len(confidence)}


def _one_hot(ids: Sequence[int], n_labels: int) -> np.ndarray:
    return np.asarray(ids)[:, None] == np.arange(n_labels)
