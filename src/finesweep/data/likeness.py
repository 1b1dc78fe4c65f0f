"""Long texts that differ in one place, by a few characters."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence

SHORTEST = 100  # of shorter texts a few characters can be the whole difference
DIFFERENT = 0.05  # of the longer text's characters
CLASS_RATIO = 1.06  # texts that are nearly equal are of one class of lengths, or of neighbouring ones
# A beginning or an end that more texts have is a form's or an instruction's, and tells nothing.
MOST_ALIKE = 20


def nearly_equal(texts: Sequence[str], others: Sequence[str]) -> list[tuple[int, int]]:
    """Return the positions (of a text, of another) that are equal but for one place of a few characters.

    Where two texts differ in one place that is short, they have a beginning or an end in common that is
    nearly half of them; so only those are compared.
    """
    places: dict[tuple[int, str, int], list[int]] = defaultdict(list)
    for i, other in enumerate(others):
        for key in _keys(other):
            places[key].append(i)
    found = set()
    for i, text in enumerate(texts):
        alike = [places.get(key, []) for key in _keys(text)]
        candidates = {j for some in alike if len(some) <= MOST_ALIKE for j in some}
        found |= {(i, j) for j in candidates if _differ_in_one_place(text, others[j])}
    return sorted(found)


def _keys(text: str) -> Iterator[tuple[int, str, int]]:
    """Give a text's beginning and end, each as long as nearly half the texts of its class of lengths."""
    if len(text) < SHORTEST:
        return
    of_text = int(math.log(len(text), CLASS_RATIO))
    for number in (of_text - 1, of_text):
        half = int((1 - DIFFERENT) / 2 * CLASS_RATIO**number)
        yield number, "begins", hash(text[:half])
        yield number, "ends", hash(text[-half:])


def _differ_in_one_place(text: str, other: str) -> bool:
    short, long = sorted((text, other), key=len)
    if len(long) - len(short) > DIFFERENT * len(long):
        return False
    start = _common(short, long)
    end = min(_common(short[::-1], long[::-1]), len(short) - start)
    return len(long) - start - end <= DIFFERENT * len(long)


def _common(text: str, other: str) -> int:
    """Return how many characters two texts begin with alike."""
    low, high = 0, min(len(text), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if text[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
