"""How long the texts are in tokens, and what `max_length` would cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from finesweep.commands.data.bins import Bin, bins_of_counts
from finesweep.tokenization.settings import in_windows, kind_of

if TYPE_CHECKING:
    from datasets import DatasetDict

    from finesweep.tokenization.encoder import TextEncoder
    from finesweep.tokenization.notes import Encoded

COMMON = (32, 64, 128, 256, 512)


@dataclass(frozen=True)
class Lengths:
    """Tokens of the texts of all splits, special tokens included, before they were cut.

    Args:
        max_length: that the config asks for.
        covers_95: the `max_length` at which 95% of the texts would be whole.
        shortest: tokens of the shortest text.
        median: half of the texts have no more.
        longest: tokens of the longest text.
        longer_than: for some lengths, `max_length` among them, the share of texts with more tokens.
        windows: rows that the texts are read in, where a text may take several; None where it is cut.
        bins: the histogram.
    """

    max_length: int
    covers_95: int
    shortest: int
    median: int
    longest: int
    longer_than: dict[int, float]
    windows: int | None
    bins: tuple[Bin, ...]


def measure(splits: DatasetDict, encoder: TextEncoder, encoded: Encoded) -> Lengths:
    """Return the lengths of encoded texts.

    Args:
        splits: the texts.
        encoder: what encoded them.
        encoded: the texts as tokens.
    """
    import numpy as np

    tokens = np.concatenate(list(encoded.lengths.values()))
    limits = sorted({*COMMON, encoder.max_length})
    rows = sum(len(split) for split in encoded.splits.values())
    return Lengths(
        max_length=encoder.max_length,
        covers_95=encoded.covers_95,
        shortest=int(tokens.min()),
        median=int(np.quantile(tokens, 0.5, method="inverted_cdf")),
        longest=int(tokens.max()),
        longer_than={limit: float((tokens > limit).mean()) for limit in limits},
        windows=rows if in_windows(encoder, kind_of(splits)) else None,
        bins=bins_of_counts(tokens),
    )
