"""The points of a search space that are tried before the sampler chooses any."""

from __future__ import annotations

from itertools import islice
from typing import Any

from finesweep.sweeps.attributes import FIXED
from finesweep.sweeps.plan import GRID_SAMPLER, Plan
from finesweep.sweeps.space import value_on
from finesweep.sweeps.study import Study


def first_points(plan: Plan, study: Study) -> list[dict[str, Any]]:
    """Return the points to try first: the config as it stands, the user's, remembered ones, or a whole space.

    They are taken by trial number. A finite space may have been searched in part, by a call that wanted fewer
    trials: then the points that were drawn stand where they were tried, and those that are left follow.
    """
    first = tried_anyway(plan) + [one.point for one in plan.remembered]
    if tries_all(plan):
        tried = [trial.system_attrs.get(FIXED, trial.params) for trial in study.trials()]
        return tried + [point for point in _in_front(first, plan.space.points()) if point not in tried]
    return first


def tried_anyway(plan: Plan) -> list[dict[str, Any]]:
    """Return the points that are tried whatever there is to remember: the config as it stands, the user's."""
    axes = plan.space.axes
    enqueued = [
        {key: value_on(axes[key], value) if key in axes else value for key, value in point.items()}
        for point in plan.settings.enqueue
    ]
    return [
        *([plan.default] if plan.default else []),
        *(point for point in enqueued if point != plan.default),
    ]


def tries_all(plan: Plan) -> bool:
    """Whether a sweep goes through its space point by point: nothing is left to choose."""
    settings, size = plan.settings, plan.space.size()
    is_small = size is not None and size <= settings.n_trials and not settings.custom_search_space
    return is_small or settings.sampler["_target_"] == GRID_SAMPLER


def _in_front(first: list[dict[str, Any]], points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Order the points of a finite space so that one that agrees with each of `first` comes first."""
    front: list[dict[str, Any]] = []
    for wanted in first:
        agreeing = (point for point in points if point.items() >= wanted.items() and point not in front)
        front += islice(agreeing, 1)
    return front + [point for point in points if point not in front]
