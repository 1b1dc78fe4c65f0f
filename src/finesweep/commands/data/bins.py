"""Histograms as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

MOST_BINS = 16
NUMBER_BINS = 10
# One very long text must not squeeze all others into the first bin.
SHOWN_SHARE = 0.99


@dataclass(frozen=True)
class Bin:
    """One bar of a histogram.

    Args:
        first: the least value in it.
        last: the greatest value in it; None in an open bin, which has all above.
        rows: how many rows have such a value.
    """

    first: float
    last: float | None
    rows: int


def bins_of_counts(values: np.ndarray) -> tuple[Bin, ...]:
    """Return at most 17 bins, each a power of two wide; the last one is open if it must be.

    Args:
        values: whole numbers of at least 1, shape (rows,).
    """
    import numpy as np

    top = int(np.quantile(values, SHOWN_SHARE, method="inverted_cdf"))
    lowest, width = int(values.min()), 1
    while (top - 1) // width - (lowest - 1) // width >= MOST_BINS:
        width *= 2
    start, end = (lowest - 1) // width, (top - 1) // width
    places = np.minimum((values - 1) // width, end + 1) - start
    rows = np.bincount(places, minlength=end - start + 2).tolist()
    bins = [Bin((start + i) * width + 1, (start + i + 1) * width, n) for i, n in enumerate(rows[:-1])]
    return (*bins, Bin((end + 1) * width + 1, None, rows[-1])) if rows[-1] else tuple(bins)


def bins_of_numbers(values: np.ndarray, low: float, high: float) -> tuple[Bin, ...]:
    """Return ten bins of equal width between two numbers; the upper edge is the next bin's, but for the last.

    Args:
        values: shape (rows,).
        low: the least value of all splits, so that their histograms can be compared.
        high: the greatest.
    """
    import numpy as np

    if low == high:
        return (Bin(low, high, len(values)),)
    rows, edges = np.histogram(values, NUMBER_BINS, (low, high))
    return tuple(Bin(float(a), float(b), int(n)) for a, b, n in zip(edges[:-1], edges[1:], rows, strict=True))
