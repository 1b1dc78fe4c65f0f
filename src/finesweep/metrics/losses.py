"""The loss of a split, from all its logits at once and without a label's weight."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from finesweep.data.labels import IGNORED, MULTI, REGRESSION, SINGLE, TOKENS

if TYPE_CHECKING:
    import numpy as np

    from finesweep.data.labels import LabelSchema


def mean_loss(logits: np.ndarray, labels: np.ndarray, schema: LabelSchema) -> float:
    """Return the mean loss of a split; NaN, without a warning, when a logit is not finite.

    Args:
        logits: single-label and multi-label (rows, labels); regression (rows,) or (rows, 1), standardised;
            tokens (rows, sequence, tags).
        labels: single-label (rows,) ids; multi-label (rows, labels) of 0 and 1; regression (rows,),
            standardised; tokens (rows, sequence) ids, -100 where nothing is counted.
        schema: supplies the problem type, and how a regression's numbers are scaled.

    Returns:
        Single-label: cross-entropy in nats. Multi-label: binary cross-entropy in nats, over rows and labels.
        Regression: squared error in the target's own units. Tokens: cross-entropy over the counted positions;
        NaN if there is none.
    """
    import numpy as np

    if not np.isfinite(logits).all():
        return math.nan
    # Of all but regressions the scale is 1.
    return schema.scale**2 * _BY_TYPE[schema.problem_type](logits, labels)


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean negative log-likelihood, in nats.

    Args:
        logits: (rows, labels).
        labels: (rows,), label ids.
    """
    from scipy.special import log_softmax

    return float(-log_softmax(logits.astype("float64"), axis=-1)[range(len(labels)), labels].mean())


def _binary_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    import numpy as np

    scores = logits.astype("float64")
    return float((np.logaddexp(0, scores) - scores * labels).mean())


def _squared_error(logits: np.ndarray, labels: np.ndarray) -> float:
    # One column would broadcast against (rows,) to a square table.
    return float(((logits.astype("float64").reshape(-1) - labels.reshape(-1)) ** 2).mean())


def _tag_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    counted = labels != IGNORED
    logits = logits[:, : labels.shape[1]]  # which may be padded further
    return cross_entropy(logits[counted], labels[counted]) if counted.any() else math.nan


_BY_TYPE: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    SINGLE: cross_entropy,
    MULTI: _binary_cross_entropy,
    REGRESSION: _squared_error,
    TOKENS: _tag_cross_entropy,
}
