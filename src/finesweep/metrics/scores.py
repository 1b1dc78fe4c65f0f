"""From a model's outputs to predictions next to the truth, as metrics and files read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finesweep.data.labels import IGNORED, MULTI, REGRESSION, TOKENS

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset

    from finesweep.data.labels import LabelSchema
    from finesweep.tokenization.settings import Pooling


@dataclass(frozen=True)
class Scored:
    """Predictions of one split and the truth.

    Args:
        predicted: single-label (rows,) ids; multi-label (rows, labels) of 0 and 1; regression (rows,), in the
            target's own units; tokens one list of tag names for each row.
        truth: the same kind.
        probabilities: (rows, labels); None for regression and tokens.
    """

    predicted: Any
    truth: Any
    probabilities: Any = None


def label_array(rows: Dataset) -> np.ndarray:
    """Return the labels of encoded rows: (rows,), (rows, labels), or (rows, tokens) filled up with -100."""
    import numpy as np

    labels = rows["labels"][:]
    if not labels or not isinstance(labels[0], list) or len({len(row) for row in labels}) == 1:
        return np.asarray(labels)
    filled = np.full((len(labels), max(map(len, labels))), IGNORED)
    for row, values in zip(filled, labels, strict=True):
        row[: len(values)] = values
    return filled


def score(
    logits: np.ndarray,
    labels: np.ndarray,
    schema: LabelSchema,
    thresholds: Sequence[float] | None = None,
    documents: np.ndarray | None = None,
) -> Scored:
    """Turn a split's outputs into predictions.

    Args:
        logits: (rows, labels); (rows, 1) for regression; (rows, tokens, labels) for tokens.
        labels: as label_array gives them.
        schema: the label names, and how a regression's numbers are scaled.
        thresholds: multi-label: the probability from which each label is predicted; 0.5 when left out.
        documents: tokens: the sentence of each row, where some have several windows.
    """
    import numpy as np
    from scipy.special import expit, softmax

    if schema.problem_type == TOKENS:
        return _score_tokens(logits, labels, schema.names, documents)
    if schema.problem_type == REGRESSION:
        numbers = np.stack([logits[:, 0], labels]).astype("float64") * schema.scale + schema.mean
        return Scored(numbers[0], numbers[1])
    if schema.problem_type == MULTI:
        probabilities = expit(logits.astype("float64"))
        return Scored(_above(probabilities, schema, thresholds), labels.astype(int), probabilities)
    return Scored(logits.argmax(-1), labels, softmax(logits.astype("float64"), axis=-1))


def averaged(
    members: Sequence[Scored], schema: LabelSchema, thresholds: Sequence[float] | None = None
) -> Scored:
    """Average what several models predict for the same rows: their probabilities, or their numbers.

    Args:
        members: of each model; not of tokens.
        schema: of the labels.
        thresholds: multi-label: the mean probability from which each label is predicted; 0.5 when left out.
    """
    import numpy as np

    assert schema.problem_type != TOKENS
    if schema.problem_type == REGRESSION:
        return Scored(np.mean([one.predicted for one in members], axis=0), members[0].truth)
    mean = np.mean([one.probabilities for one in members], axis=0)
    if schema.problem_type == MULTI:
        return Scored(_above(mean, schema, thresholds), members[0].truth, mean)
    return Scored(mean.argmax(-1), members[0].truth, mean)


def _above(probabilities: np.ndarray, schema: LabelSchema, thresholds: Sequence[float] | None) -> np.ndarray:
    import numpy as np

    limits = np.full(len(schema.names), 0.5) if thresholds is None else np.asarray(thresholds)
    return (probabilities >= limits).astype(int)


def pooled(
    logits: np.ndarray, labels: np.ndarray, documents: np.ndarray, pooling: Pooling
) -> tuple[np.ndarray, np.ndarray]:
    """Make one row of the windows of each document: their mean or greatest logits, and their common label.

    Args:
        logits: (windows, labels).
        labels: (windows,) or (windows, labels).
        documents: (windows,), ascending from 0.
        pooling: how.
    """
    import numpy as np

    starts = np.flatnonzero(np.diff(documents, prepend=-1))
    if pooling == "max":
        return np.maximum.reduceat(logits, starts), labels[starts]
    counts = np.diff(starts, append=len(documents))
    return np.add.reduceat(logits, starts) / counts[:, None].astype(logits.dtype), labels[starts]


def _score_tokens(
    logits: np.ndarray, labels: np.ndarray, names: Sequence[str], documents: np.ndarray | None
) -> Scored:
    numbers = range(len(labels)) if documents is None else documents.tolist()
    predicted: list[list[str]] = [[] for _ in range(max(numbers, default=-1) + 1)]
    truth: list[list[str]] = [[] for _ in predicted]
    for number, row, tags in zip(numbers, logits.argmax(-1), labels, strict=True):
        counted = tags != IGNORED
        predicted[number] += [names[int(i)] for i in row[: len(tags)][counted]]
        truth[number] += [names[int(i)] for i in tags[counted]]
    return Scored(predicted, truth)
