"""The metrics that a config can name: `evaluate` modules that need no network, a baseline, the loss."""

from finesweep.metrics.baselines import baseline
from finesweep.metrics.computation import compute_metrics
from finesweep.metrics.losses import mean_loss
from finesweep.metrics.registry import (
    METRICS,
    default_metrics,
    direction_of,
    main_metric,
    metric_names,
    objective_names,
)
from finesweep.metrics.thresholds import tune_thresholds

__all__ = [
    "METRICS",
    "baseline",
    "compute_metrics",
    "default_metrics",
    "direction_of",
    "main_metric",
    "mean_loss",
    "metric_names",
    "objective_names",
    "tune_thresholds",
]
