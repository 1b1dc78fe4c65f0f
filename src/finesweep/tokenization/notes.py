"""What encoding came to, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset, DatasetDict


# Above this share of cut texts it is a warning, which names the length that would do.
WARNED_SHARE = 0.1


@dataclass(frozen=True)
class Encoded:
    """Token ids of all splits (columns `input_ids`, `attention_mask`, ..., `labels`), and what was cut.

    Args:
        splits: one row for each text, in order; with windows one for each window.
        truncated: share of texts longer than `max_length` that were cut, over all splits.
        from_cache: whether an earlier run had made them.
        documents: for each encoded row of a split the position of its row in the data's split; None when
            every text is one row.
        lengths: tokens of each row of the data before it was cut, special tokens included.
        covers_95: the `max_length` at which 95% of the texts wouldn't be cut.
        unknown: share of the tokens, special ones aside, that the tokenizer doesn't know.
    """

    splits: DatasetDict
    truncated: float
    from_cache: bool
    documents: dict[str, np.ndarray] | None = None
    lengths: dict[str, np.ndarray] = field(default_factory=dict)
    covers_95: int = 0
    unknown: float = 0.0


def truncation_note(encoded: Encoded, max_length: int) -> str:
    """Say how much of the texts the model won't see, or how many windows it reads them in."""
    if encoded.documents:
        texts = sum(len(lengths) for lengths in encoded.lengths.values())
        windows = sum(len(split) for split in encoded.splits.values())
        return f"{texts:,} texts in {windows:,} windows of at most {max_length} tokens"
    note = f"{encoded.truncated:.0%} of the texts are cut at {max_length} tokens"
    return f"{note}; {encoded.covers_95} would cover 95%" if encoded.truncated > WARNED_SHARE else note


def truncation_warnings(encoded: Encoded, max_length: int) -> tuple[str, ...]:
    """Return the note as a warning when many of the texts are cut, and else nothing."""
    return (truncation_note(encoded, max_length),) if encoded.truncated > WARNED_SHARE else ()


def unknown_warnings(encoded: Encoded) -> tuple[str, ...]:
    """Say that the tokenizer doesn't know many of the tokens, as it doesn't those of another script."""
    if encoded.unknown <= WARNED_SHARE:
        return ()
    what = "of the tokens are unknown to the tokenizer, so that the model can't tell them apart"
    return (f"{encoded.unknown:.0%} {what}: is it one for this language?",)


def split_sizes(splits: DatasetDict | dict[str, Dataset]) -> str:
    """Return "1,703 train, 212 validation, 212 test"."""
    return ", ".join(f"{len(split):,} {name}" for name, split in splits.items())
