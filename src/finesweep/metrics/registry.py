"""Which metrics exist for each problem type, which of them a study can optimise, and in which direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from finesweep.data.labels import MULTI, REGRESSION, SINGLE, TOKENS
from finesweep.errors import ConfigError, Fault, nearest
from finesweep.metrics.own import OWN, Direction

# Computed by whoever has the logits (losses.py); every problem type has it, and it can be the objective.
LOSS = "loss"


@dataclass(frozen=True)
class Registered:
    """What a metric's name stands for.

    Args:
        classes: for each problem type that has it, `module.Class` within finesweep.metrics.
        direction: which way is better.
        single: whether it is one number, and so can be an objective.
    """

    classes: Mapping[str, str]
    direction: Direction = "maximize"
    single: bool = True


METRICS: dict[str, Registered] = {
    "accuracy": Registered({SINGLE: "single_label.Accuracy"}),
    "balanced_accuracy": Registered({SINGLE: "single_label.BalancedAccuracy"}),
    "f1_macro": Registered({SINGLE: "single_label.MacroF1", MULTI: "multi_label.MacroF1"}),
    "f1_micro": Registered({SINGLE: "single_label.MicroF1", MULTI: "multi_label.MicroF1"}),
    "f1_weighted": Registered({SINGLE: "single_label.WeightedF1"}),
    "f1_per_class": Registered(
        {SINGLE: "single_label.PerClassF1", MULTI: "multi_label.PerClassF1"}, single=False
    ),
    "matthews_correlation": Registered({SINGLE: "single_label.MatthewsCorrelation"}),
    "subset_accuracy": Registered({MULTI: "multi_label.SubsetAccuracy"}),
    "roc_auc": Registered({SINGLE: "single_label.RocAuc", MULTI: "multi_label.RocAuc"}),
    "pr_auc": Registered({SINGLE: "single_label.PrAuc"}),
    "mean_average_precision": Registered({MULTI: "multi_label.MeanAveragePrecision"}),
    "log_loss": Registered({SINGLE: "single_label.LogLoss", MULTI: "multi_label.LogLoss"}, "minimize"),
    "expected_calibration_error": Registered({SINGLE: "single_label.ExpectedCalibrationError"}, "minimize"),
    "mse": Registered({REGRESSION: "regression.MeanSquaredError"}, "minimize"),
    "mae": Registered({REGRESSION: "regression.MeanAbsoluteError"}, "minimize"),
    "rmse": Registered({REGRESSION: "regression.RootMeanSquaredError"}, "minimize"),
    "r2": Registered({REGRESSION: "regression.R2"}),
    "pearson": Registered({REGRESSION: "regression.Pearson"}),
    "spearman": Registered({REGRESSION: "regression.Spearman"}),
    "span_f1": Registered({TOKENS: "tokens.SpanF1"}),
    "span_precision": Registered({TOKENS: "tokens.SpanPrecision"}),
    "span_recall": Registered({TOKENS: "tokens.SpanRecall"}),
    "span_f1_per_type": Registered({TOKENS: "tokens.PerTypeSpanF1"}, single=False),
    "token_accuracy": Registered({TOKENS: "tokens.TokenAccuracy"}),
}

# What `data.metrics: auto` computes; the first is what `objective.metric: auto` means.
DEFAULTS = {
    SINGLE: ("accuracy", "f1_macro", "f1_per_class", "matthews_correlation"),
    MULTI: ("f1_micro", "f1_macro", "f1_per_class", "subset_accuracy", "mean_average_precision"),
    REGRESSION: ("pearson", "spearman", "mse", "mae", "r2"),
    TOKENS: ("span_f1", "span_precision", "span_recall", "span_f1_per_type", "token_accuracy"),
}


def metric_names(problem_type: str | None = None) -> tuple[str, ...]:
    """Return the names of a problem type's metrics, or of all metrics."""
    known = (name for name, entry in METRICS.items() if problem_type in (None, *entry.classes))
    return (*known, *OWN)


def default_metrics(problem_type: str) -> tuple[str, ...]:
    """Return what `data.metrics: auto` computes."""
    return DEFAULTS[problem_type]


def main_metric(problem_type: str) -> str:
    """Return what `objective.metric: auto` means; for each problem type it is a metric to maximise."""
    return DEFAULTS[problem_type][0]


def objective_names(chosen: Sequence[str], problem_type: str | None = None) -> tuple[str, ...]:
    """Return the names a study may optimise, given the metrics that are computed; the loss is the last."""
    known = metric_names(problem_type)
    single = (name for name in chosen if name in known and (name in OWN or METRICS[name].single))
    return (*single, LOSS)


def direction_of(metric: str) -> Direction:
    """Return which way of a metric, or of the loss, is better.

    Raises:
        ConfigError: there is no such metric.
    """
    if metric == LOSS:
        return "minimize"
    if metric in OWN:
        return OWN[metric].direction
    if metric not in METRICS:
        valid = (*METRICS, *OWN, LOSS)
        rule = f"There is no such metric. {nearest(metric, valid)}".strip()
        raise ConfigError(Fault("objective.metric", rule, metric, valid=valid))
    return METRICS[metric].direction
