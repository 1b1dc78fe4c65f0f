"""Few lengths that batches are padded to, so that few shapes occur."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

MULTIPLE = 8  # what the kernels of attention want a mask's length to be a multiple of
MOST_LENGTHS = 4
# More lengths are taken until padding to them adds no more than this share of the tokens.
LITTLE = 0.05


def choose_lengths(lengths: Sequence[int], most: int = MOST_LENGTHS) -> tuple[int, ...]:
    """Return the lengths that batches are padded to, the shortest first.

    As few as keep the padding little, and of so many those that keep it least.

    Args:
        lengths: of the batches, as their longest texts have them; at least one.
        most: how many there may be.
    """
    counts = Counter(rounded(length) for length in lengths)
    candidates = sorted(counts)
    needed = sum(length * count for length, count in counts.items())
    found: tuple[int, ...] = ()
    for number in range(1, min(most, len(candidates)) + 1):
        found, padded = _best(candidates, counts, number)
        if padded <= (1 + LITTLE) * needed:
            break
    return found


def rounded(length: int) -> int:
    """Round a length up to the next that suits the kernels."""
    return -(-length // MULTIPLE) * MULTIPLE


def bucket_of(length: int, lengths: Sequence[int]) -> int:
    """Return the shortest of the lengths, which are sorted, that a batch of this length fits in."""
    return next(known for known in lengths if known >= length)


def _best(candidates: list[int], counts: Counter[int], number: int) -> tuple[tuple[int, ...], int]:
    """Return the `number` candidates to pad to with the fewest tokens, and how many those are.

    Dynamic programming: the best choice whose longest is candidate j extends the best shorter choice.
    """
    total = [0]
    for length in candidates:
        total.append(total[-1] + counts[length])
    # Of the batches up to candidate j: (tokens, the lengths chosen).
    best = {j: (total[j + 1] * length, (length,)) for j, length in enumerate(candidates)}
    for _ in range(number - 1):
        best = {
            j: min(
                (tokens + (total[j + 1] - total[i + 1]) * candidates[j], (*chosen, candidates[j]))
                for i, (tokens, chosen) in best.items()
                if i < j
            )
            for j in range(len(candidates))
            if any(i < j for i in best)
        }
    tokens, chosen = best[len(candidates) - 1]
    return chosen, tokens
