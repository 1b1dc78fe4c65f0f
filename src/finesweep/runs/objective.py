"""The metrics of a run and the one that counts, once the data has said of which problem type it is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from finesweep.errors import ConfigError, Fault, nearest
from finesweep.metrics import default_metrics, main_metric, metric_names, objective_names

if TYPE_CHECKING:
    from finesweep.data import TextData


def with_objective(config: dict[str, Any], data: TextData) -> tuple[dict[str, Any], TextData]:
    """Return the config with its objective named, and the data with a metric for it.

    Args:
        config: `objective.metric: auto` stands for the problem type's main metric.
        data: knows the problem type; without metrics, it gets those that suit it.

    Raises:
        ConfigError: a metric that doesn't measure this problem type.
    """
    problem_type = data.schema.problem_type
    valid = metric_names(problem_type)
    if not data.metrics:
        data = replace(data, metrics=default_metrics(problem_type))
    faults = [_unsuitable("data.metrics", name, problem_type) for name in data.metrics if name not in valid]
    metric = config["objective"]["metric"]
    if metric == "auto":
        metric = main_metric(problem_type)
    elif metric not in objective_names(valid, problem_type):
        faults.append(_unsuitable("objective.metric", metric, problem_type))
    if faults:
        raise ConfigError(*faults)
    if metric != "loss" and metric not in data.metrics:
        data = replace(data, metrics=(*data.metrics, metric))
    return {**config, "objective": {**config["objective"], "metric": metric}}, data


def _unsuitable(key: str, name: str, problem_type: str) -> Fault:
    valid = metric_names(problem_type)
    words = problem_type.replace("_", " ")
    rule = f"It doesn't measure a task of {words}. {nearest(name, valid)}".strip()
    fix = (
        f"{key}=auto takes what does."
        if key == "data.metrics"
        else f"The main one is {main_metric(problem_type)}."
    )
    return Fault(key, rule, name, valid=valid, fix=fix)
