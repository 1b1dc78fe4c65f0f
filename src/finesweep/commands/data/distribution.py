"""Which labels a split has, and how many of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from finesweep.commands.data.bins import Bin, bins_of_numbers
from finesweep.data.labels import MULTI, REGRESSION, SINGLE, TOKENS
from finesweep.data.spans import find_spans, span_types

if TYPE_CHECKING:
    from finesweep.data.labels import LabelSchema

QUARTILES = ("minimum", "lower_quartile", "median", "upper_quartile", "maximum")


@dataclass(frozen=True)
class Distribution:
    """The labels of one split.

    Args:
        rows: in the split.
        counts: rows with each label; for tokens, words with each tag; empty for regression.
        of: what the counts are shares of: the rows, or the words.
        unlabelled: multi-label: rows that have no label.
        spans: tokens: how many of each type.
        numbers: regression: minimum, quartiles, maximum and mean of the targets, in their own units.
        bins: regression: the targets' histogram, with the same edges for each split.
    """

    rows: int
    counts: dict[str, int] = field(default_factory=dict)
    of: int = 0
    unlabelled: int = 0
    spans: dict[str, int] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)
    bins: tuple[Bin, ...] = ()

    def share(self, name: str) -> float:
        """Return a label's share of the rows, or a tag's of the words."""
        return self.counts[name] / self.of if self.of else 0.0


def distributions(truths: Mapping[str, Any], schema: LabelSchema) -> dict[str, Distribution]:
    """Count the labels of each split.

    Args:
        truths: the labels of each split, as finesweep.runs.evaluation.truth_of gives them.
        schema: the label names and the problem type.
    """
    return _BY_TYPE[schema.problem_type](truths, schema)


def _single_label(truths: Mapping[str, Any], schema: LabelSchema) -> dict[str, Distribution]:
    import numpy as np

    return {
        split: _counted(schema, len(truth), np.bincount(truth, minlength=len(schema.names)))
        for split, truth in truths.items()
    }


def _multi_label(truths: Mapping[str, Any], schema: LabelSchema) -> dict[str, Distribution]:
    return {
        split: _counted(schema, len(truth), truth.sum(axis=0), int((truth.sum(axis=1) == 0).sum()))
        for split, truth in truths.items()
    }


def _counted(schema: LabelSchema, rows: int, counts: Any, unlabelled: int = 0) -> Distribution:
    return Distribution(rows, dict(zip(schema.names, map(int, counts), strict=True)), rows, unlabelled)


def _regression(truths: Mapping[str, Any], schema: LabelSchema) -> dict[str, Distribution]:
    import numpy as np

    low = min(float(truth.min()) for truth in truths.values())
    high = max(float(truth.max()) for truth in truths.values())
    found = {}
    for split, truth in truths.items():
        values = [float(value) for value in np.quantile(truth, (0, 0.25, 0.5, 0.75, 1))]
        numbers = {**dict(zip(QUARTILES, values, strict=True)), "mean": float(truth.mean())}
        found[split] = Distribution(len(truth), numbers=numbers, bins=bins_of_numbers(truth, low, high))
    return found


def _tokens(truths: Mapping[str, Any], schema: LabelSchema) -> dict[str, Distribution]:
    found = {}
    for split, truth in truths.items():
        tags = Counter(tag for row in truth for tag in row)
        spans = Counter(span.type for row in truth for span in find_spans(row, schema.names))
        counts = {name: tags[name] for name in schema.names}
        by_type = {type_: spans[type_] for type_ in span_types(schema.names, schema.names)}
        found[split] = Distribution(len(truth), counts, tags.total(), spans=by_type)
    return found


_BY_TYPE: dict[str, Callable[[Mapping[str, Any], LabelSchema], dict[str, Distribution]]] = {
    SINGLE: _single_label,
    MULTI: _multi_label,
    REGRESSION: _regression,
    TOKENS: _tokens,
}
