"""Metrics as `evaluate.Metric` modules; scikit-learn does the arithmetic."""

# evaluate's base class types no arguments, and scikit-learn's annotations are inferred from its defaults.
# pyright: reportIncompatibleMethodOverride=false, reportArgumentType=false
from __future__ import annotations

from collections.abc import Sequence

import datasets
import evaluate
import numpy as np
from sklearn import metrics as sklearn_metrics


class ClassificationMetric(evaluate.Metric):
    """A metric of predicted against true label ids, both of shape (rows,)."""

    def _info(self) -> evaluate.MetricInfo:
        label_id = datasets.Value("int64")
        return evaluate.MetricInfo(
            description=self.__doc__ or "",
            citation="",
            inputs_description="predictions and references: label ids; label_names: one name for each id",
            features=datasets.Features({"predictions": label_id, "references": label_id}),
        )


class Accuracy(ClassificationMetric):
    """Share of rows whose predicted label is the true one."""

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        return {"accuracy": sklearn_metrics.accuracy_score(references, predictions)}


class MacroF1(ClassificationMetric):
    """F1 averaged over the labels that occur, each with the same weight."""

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        score = sklearn_metrics.f1_score(references, predictions, average="macro", zero_division=0)
        return {"f1_macro": score}


class PerClassF1(ClassificationMetric):
    """F1 of each label; 0 for a label that is neither predicted nor present."""

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        ids = np.arange(len(label_names))
        scores = sklearn_metrics.f1_score(references, predictions, labels=ids, average=None, zero_division=0)
        return {f"f1/{name}": score for name, score in zip(label_names, scores, strict=True)}


class MatthewsCorrelation(ClassificationMetric):
    """Correlation of predicted and true labels: 1 perfect, 0 no better than chance (Matthews 1975)."""

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        return {"matthews_correlation": sklearn_metrics.matthews_corrcoef(references, predictions)}
