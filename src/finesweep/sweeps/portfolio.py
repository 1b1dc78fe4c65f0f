"""A few points that did well in earlier searches, spread out rather than alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from finesweep.runs.features import Features
from finesweep.sweeps.history import Finished
from finesweep.sweeps.remembered import Remembered
from finesweep.sweeps.results import LUCK
from finesweep.sweeps.space import Space, steps_up

SHARE_OF_BUDGET = 3  # a third of the trials at most
MOST_POINTS = 8
MOST_OF_ONE = 8  # of a sweep's best points
FARTHEST = 3.0  # what is less alike says nothing: a thousand times as many rows, say
# Of a space whose every axis is 1 long: nearer to another point is no new one; farther is no better.
NEAR, FAR = 0.05, 0.25


def choose(
    earlier: Sequence[Finished],
    own: Features,
    space: Space,
    default: Mapping[str, Any],
    taken: Sequence[Mapping[str, Any]],
    count: int,
) -> list[Remembered]:
    """Choose points one by one: each time the one that did best, in the nearest sweep, far from those chosen.

    A point's worth is the share of its sweep's trials that were no better, halved for each unit of distance
    between the two sweeps' features, and less the nearer it lies to a point that is tried anyway.

    Args:
        earlier: what was found before.
        own: features of the sweep that begins.
        space: its space.
        default: the config as it stands, which has the axes that an earlier sweep hasn't searched.
        taken: points that are tried anyway.
        count: at most so many.
    """
    candidates = [found for sweep in earlier for found in _candidates(sweep, own, space, default)]
    chosen: list[Remembered] = []
    while len(chosen) < count:
        known = [*taken, *(one.point for one in chosen)]
        worths = [worth * _spread(one.point, known, space) for worth, one in candidates]
        best = max(range(len(worths)), key=worths.__getitem__, default=None)
        if best is None or not worths[best]:
            break
        chosen.append(candidates[best][1])
    return chosen


def _candidates(
    sweep: Finished, own: Features, space: Space, default: Mapping[str, Any]
) -> list[tuple[float, Remembered]]:
    """Return the better third of a sweep's points, as points of another space, each with its worth.

    They end where the sweep had the config as it stands here: what did no better is of no use.
    """
    distance, of = own.distance(sweep.features), len(sweep.points)
    if distance is None or distance > FARTHEST:
        return []
    found = []
    for place, texts in enumerate(sweep.points[: min(MOST_OF_ONE, math.ceil(of / 3))]):
        with suppress(ValueError):  # it lies outside of this space
            values = {key: fitted(space.axes[key], text) for key, text in texts.items()}
            if default and values.items() <= default.items():
                break
            one = Remembered({**default, **values}, sweep.name, place + 1, of)
            found.append(((1 - place / of) * 2**-distance, one))
    return found


def fitted(axis: BaseDistribution, text: str) -> Any:
    """Return an earlier sweep's value as an axis has it; a number outside the range is brought to its end.

    A choice must be one of the user's own, whatever stands in a stranger's table.

    Raises:
        ValueError: the axis has none like it.
    """
    if isinstance(axis, CategoricalDistribution):
        own = [choice for choice in axis.choices if _is_written(choice, text)]
        if not own:
            raise ValueError
        return own[0]
    assert isinstance(axis, FloatDistribution | IntDistribution)
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    number = min(max(number, axis.low), axis.high)
    if axis.step is not None and not axis.log:
        number = steps_up(axis.low, axis.step, round((number - axis.low) / axis.step))
    return round(number) if isinstance(axis, IntDistribution) else float(number)


def _is_written(choice: Any, text: str) -> bool:
    """Whether a text in a table is a choice; 8 is 8.0 too."""
    if str(choice) == text:
        return True
    if isinstance(choice, bool) or not isinstance(choice, int | float):
        return False
    try:
        return float(text) == choice
    except ValueError:
        return False


def _spread(point: Mapping[str, Any], known: Sequence[Mapping[str, Any]], space: Space) -> float:
    """Return 0 where a point is as good as known, and 1 where it is far from all that are."""
    gap = min((_gap(point, one, space) for one in known), default=FAR)
    return 0.0 if gap < NEAR else min(1.0, gap / FAR)


def _gap(one: Mapping[str, Any], other: Mapping[str, Any], space: Space) -> float:
    """Return how far apart two points are, as a mean over the axes that both have; 1 where there is none."""
    axes = {key: axis for key, axis in space.axes.items() if key in one and key in other and key not in LUCK}
    gaps = [_gap_on(axis, one[key], other[key]) for key, axis in axes.items()]
    return sum(gaps) / len(gaps) if gaps else 1.0


def _gap_on(axis: BaseDistribution, one: Any, other: Any) -> float:
    if isinstance(axis, CategoricalDistribution):
        return float(one != other)
    return abs(_place(axis, one) - _place(axis, other))


def _place(axis: Any, value: float) -> float:
    """Return where a value lies between the ends of its axis, from 0 to 1."""
    low, high, value = (math.log(x) if axis.log else x for x in (axis.low, axis.high, value))
    return (value - low) / (high - low) if high > low else 0.0
