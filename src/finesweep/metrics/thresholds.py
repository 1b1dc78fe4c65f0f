"""From which probability on a label counts as present."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

DEFAULT = 0.5


def tune_thresholds(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return for each label the threshold with the best F1 on these rows.

    A label is present when its probability is at least the threshold. Candidates lie midway between
    neighbouring probabilities, 0 included; of equally good ones the nearest to 0.5 is taken.

    Args:
        probabilities: (rows, labels).
        truth: (rows, labels), 1 where the row has the label.

    Returns:
        (labels,); 0.5 for a label that no row has.
    """
    import numpy as np

    columns = zip(np.asarray(probabilities, dtype="float64").T, np.asarray(truth).T == 1, strict=True)
    return np.array([_best_threshold(scores, has) for scores, has in columns])


def _best_threshold(scores: np.ndarray, has: np.ndarray) -> float:
    """Return the threshold with the best F1 of one label; scores and has are (rows,)."""
    import numpy as np

    if not has.any():
        return DEFAULT
    distinct, group = np.unique(scores, return_inverse=True)
    found = _count_from(np.bincount(group))
    right = _count_from(np.bincount(group, weights=has))
    f1 = 2 * right / (found + has.sum())
    candidates = _midpoints(distinct)[f1 == f1.max()]
    return float(candidates[np.abs(candidates - DEFAULT).argmin()])


def _count_from(counts: np.ndarray) -> np.ndarray:
    """Return how many there are from each position on."""
    return counts[::-1].cumsum()[::-1]


def _midpoints(distinct: np.ndarray) -> np.ndarray:
    """Return one threshold below each sorted probability and above the one before it."""
    import numpy as np

    below = np.concatenate([[0.0], distinct[:-1]])
    middle = (below + distinct) / 2
    return np.where(middle > below, middle, distinct)  # no float lies between the two: take the upper
