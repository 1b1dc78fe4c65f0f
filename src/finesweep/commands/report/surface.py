"""The cells of a contour: no more than a picture shows, however many trials there are."""

from __future__ import annotations

import math
from collections.abc import Sequence

from finesweep.commands.report.traces import brief

MOST_CELLS = 40  # along an axis


def cells(values: Sequence[float], *, log: bool) -> tuple[list[float], list[int]]:
    """Return where cells stand along an axis, and in which of them each value lies.

    Few different values are cells of their own; many are put into `MOST_CELLS` of equal width.

    Args:
        values: one for each trial.
        log: whether the axis is logarithmic.
    """
    different = sorted(set(values))
    if len(different) <= MOST_CELLS:
        return different, [different.index(value) for value in values]
    to, back = (math.log, math.exp) if log else (float, float)
    low, high = to(different[0]), to(different[-1])
    width = (high - low) / MOST_CELLS
    middles = [brief(back(low + (place + 0.5) * width)) for place in range(MOST_CELLS)]
    return middles, [min(int((to(value) - low) / width), MOST_CELLS - 1) for value in values]


def means_in_cells(
    rows: Sequence[int], columns: Sequence[int], values: Sequence[float], shape: tuple[int, int]
) -> list[list[float | None]]:
    """Return the mean of the values in each cell; None where there is none.

    Args:
        rows: the row of each value.
        columns: the column of each.
        values: what is averaged.
        shape: number of rows and of columns.
    """
    inside: dict[tuple[int, int], list[float]] = {}
    for row, column, value in zip(rows, columns, values, strict=True):
        inside.setdefault((row, column), []).append(value)
    grid: list[list[float | None]] = [[None] * shape[1] for _ in range(shape[0])]
    for (row, column), some in inside.items():
        grid[row][column] = brief(math.fsum(some) / len(some))
    return grid
