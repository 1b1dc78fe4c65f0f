"""What a model scores that ignores the text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from finesweep.data.labels import MULTI, REGRESSION, SINGLE, TOKENS
from finesweep.metrics.scores import Scored

if TYPE_CHECKING:
    from finesweep.data.labels import LabelSchema


def baseline(train_truth: Any, truth: Any, schema: LabelSchema) -> Scored:
    """Predict each row of a split from train's labels alone.

    Single-label: train's most frequent label, with train's shares as probabilities. Multi-label: each label
    that more than half of train has. Regression: train's mean. Tokens: train's most frequent tag for every
    word. Of equally frequent labels the first in the schema is taken.

    Args:
        train_truth: `Scored.truth` of the train split.
        truth: `Scored.truth` of the split to score.
        schema: supplies the problem type and the label names.
    """
    return _BY_TYPE[schema.problem_type](train_truth, truth, schema)


def _single_label(train_truth: Any, truth: Any, schema: LabelSchema) -> Scored:
    import numpy as np

    shares = np.bincount(train_truth, minlength=len(schema.names)) / len(train_truth)
    predicted = np.full(len(truth), shares.argmax())
    return Scored(predicted, truth, np.tile(shares, (len(truth), 1)))


def _multi_label(train_truth: Any, truth: Any, schema: LabelSchema) -> Scored:
    import numpy as np

    shares = np.asarray(train_truth, dtype="float64").mean(axis=0)
    probabilities = np.tile(shares, (len(truth), 1))
    return Scored((probabilities > 0.5).astype("int64"), truth, probabilities)


def _regression(train_truth: Any, truth: Any, schema: LabelSchema) -> Scored:
    import numpy as np

    return Scored(np.full(len(truth), np.mean(train_truth, dtype="float64")), truth, None)


def _tokens(train_truth: Any, truth: Any, schema: LabelSchema) -> Scored:
    counts = Counter(tag for tags in train_truth for tag in tags)
    most_frequent = max(schema.names, key=lambda name: counts[name])
    return Scored([[most_frequent] * len(tags) for tags in truth], truth, None)


_BY_TYPE: dict[str, Callable[[Any, Any, LabelSchema], Scored]] = {
    SINGLE: _single_label,
    MULTI: _multi_label,
    REGRESSION: _regression,
    TOKENS: _tokens,
}
