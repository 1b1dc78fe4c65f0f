"""The loss that every trainer minimises."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

IGNORED = -100


def summed_loss(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Return the cross-entropy, summed: dividing by the rows of a whole step makes accumulation exact.

    Args:
        logits: shape (rows, labels).
        labels: class indices, shape (rows,); those that are IGNORED count for nothing.
        label_smoothing: share of the target that is spread over all classes.
    """
    return functional.cross_entropy(
        logits.float(), labels, ignore_index=IGNORED, reduction="sum", label_smoothing=label_smoothing
    )


def count_labels(labels: Tensor) -> int:
    """Return how many labels count."""
    return int((labels != IGNORED).sum())
