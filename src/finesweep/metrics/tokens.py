"""Metrics of one tag for each word; a span counts when its type and both ends are right."""

# evaluate's base class types no arguments.
# pyright: reportIncompatibleMethodOverride=false
from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from finesweep.data.spans import find_spans, span_types
from finesweep.metrics.base import TAGS, LocalMetric


class Counts(NamedTuple):
    """Spans over all rows.

    Args:
        right: found and true.
        found: in the predictions.
        true: in the truth.
    """

    right: int
    found: int
    true: int

    @property
    def precision(self) -> float:
        """Share of the found spans that are true; 0 if none is found."""
        return self.right / self.found if self.found else 0.0

    @property
    def recall(self) -> float:
        """Share of the true spans that are found; 0 if there is none."""
        return self.right / self.true if self.true else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 if there is no span at all."""
        return 2 * self.right / (self.found + self.true) if self.found + self.true else 0.0


class SpanF1(LocalMetric):
    """F1 of the spans of all types together; 0 if there is no span at all."""

    PREDICTIONS = REFERENCES = TAGS

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        return {"span_f1": _all_types(predictions, references, label_names).f1}


class SpanPrecision(LocalMetric):
    """Share of the found spans that are true; 0 if none is found."""

    PREDICTIONS = REFERENCES = TAGS

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        return {"span_precision": _all_types(predictions, references, label_names).precision}


class SpanRecall(LocalMetric):
    """Share of the true spans that are found; 0 if there is none."""

    PREDICTIONS = REFERENCES = TAGS

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        return {"span_recall": _all_types(predictions, references, label_names).recall}


class PerTypeSpanF1(LocalMetric):
    """F1 of the spans of each type that the tags name; 0 for a type that is neither found nor true."""

    PREDICTIONS = REFERENCES = TAGS

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        counts, types = _counts(predictions, references, label_names), span_types(label_names, label_names)
        return {f"span_f1/{name}": counts.get(name, Counts(0, 0, 0)).f1 for name in types}


class TokenAccuracy(LocalMetric):
    """Share of words whose tag is the true one, `O` included; NaN if there is no word."""

    PREDICTIONS = REFERENCES = TAGS

    def _compute(self, predictions, references, label_names: Sequence[str]) -> dict[str, float]:
        right = [
            found == true
            for tags, truth in zip(predictions, references, strict=True)
            for found, true in zip(tags, truth, strict=True)
        ]
        return {"token_accuracy": float(np.mean(right)) if right else math.nan}


def _all_types(
    predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]], names: Sequence[str]
) -> Counts:
    each = _counts(predictions, references, names).values()
    return Counts(*(sum(numbers) for numbers in zip(*each, strict=True))) if each else Counts(0, 0, 0)


def _counts(
    predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]], names: Sequence[str]
) -> dict[str, Counts]:
    """Count spans by type."""
    right: Counter[str] = Counter()
    found: Counter[str] = Counter()
    true: Counter[str] = Counter()
    for tags, truth in zip(predictions, references, strict=True):
        found_here, true_here = set(find_spans(tags, names)), set(find_spans(truth, names))
        found.update(span.type for span in found_here)
        true.update(span.type for span in true_here)
        right.update(span.type for span in found_here & true_here)
    return {name: Counts(right[name], found[name], true[name]) for name in {*found, *true}}
