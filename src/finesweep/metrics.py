"""The metrics that a config can name, computed by `evaluate` modules that need no network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from finesweep.data.labels import LabelSchema

# Name in a config -> class in metric_modules.py, and whether it gives one number (and can be an objective).
METRICS = {
    "accuracy": ("Accuracy", True),
    "f1_macro": ("MacroF1", True),
    "f1_per_class": ("PerClassF1", False),
    "matthews_correlation": ("MatthewsCorrelation", True),
}


def objective_names(chosen: Sequence[str]) -> tuple[str, ...]:
    """Return the names a study may optimise, given the metrics that are computed."""
    return (*(name for name in chosen if METRICS.get(name, ("", False))[1]), "loss")


def compute_metrics(
    chosen: Sequence[str], logits: np.ndarray, labels: np.ndarray, schema: LabelSchema
) -> dict[str, float]:
    """Compute the chosen metrics of one split.

    Args:
        chosen: names from METRICS.
        logits: (rows, labels).
        labels: (rows,), label ids.
        schema: supplies the label names for per-class metrics.

    Returns:
        One number for each metric; `f1_per_class` gives one for each label, as `f1/<label>`.
    """
    from finesweep import metric_modules

    predicted = logits.argmax(axis=-1)
    values: dict[str, float] = {}
    for name in chosen:
        module = getattr(metric_modules, METRICS[name][0])(keep_in_memory=True)
        result = module.compute(predictions=predicted, references=labels, label_names=schema.names)
        values.update({key: float(value) for key, value in result.items()})
    return values


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean negative log-likelihood, in nats.

    Args:
        logits: (rows, labels).
        labels: (rows,), label ids.
    """
    from scipy.special import log_softmax

    return float(-log_softmax(logits.astype("float64"), axis=-1)[range(len(labels)), labels].mean())
