"""What each label counts in the loss, where some are rare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from finesweep.data.labels import IGNORED, MULTI, LabelSchema
from finesweep.errors import DataError, Fault


def make_class_weights(
    choice: str | Sequence[float], labels: Sequence[Any], schema: LabelSchema
) -> tuple[float, ...] | None:
    """Return the weight of each label, or None when all count the same.

    Args:
        choice: `none`; `balanced`, which makes every label count the same in total (rows / labels / count,
            as in scikit-learn; for multi-label tasks absent / present, for a label's presence); or numbers.
        labels: encoded, of the train split.
        schema: the label names.

    Raises:
        DataError: a wrong number of weights, or a task without classes.
    """
    if choice == "none":
        return None
    if not schema.values:
        raise DataError(Fault("data.class_weights", "A regression has no classes.", choice, valid=("none",)))
    if choice != "balanced":
        return _given(choice, schema)
    if schema.problem_type == MULTI:
        present = [max(sum(column), 1.0) for column in zip(*labels, strict=True)]
        return tuple((len(labels) - count) / count for count in present)
    is_tags = labels and isinstance(labels[0], list)
    flat = [label for row in labels for label in row if label != IGNORED] if is_tags else labels
    counts = Counter(flat)
    return tuple(len(flat) / len(schema.names) / max(counts[i], 1) for i in range(len(schema.names)))


def _given(choice: str | Sequence[float], schema: LabelSchema) -> tuple[float, ...]:
    if isinstance(choice, str) or len(choice) != len(schema.names) or not all(w >= 0 for w in choice):
        rule = f"It is none, balanced, or {len(schema.names)} numbers, one for each label in this order."
        raise DataError(Fault("data.class_weights", rule, choice, valid=schema.names))
    return tuple(float(weight) for weight in choice)
