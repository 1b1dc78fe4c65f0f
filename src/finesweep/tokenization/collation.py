"""Rows to padded batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finesweep.tokenization.settings import MULTIPLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedTokenizerBase

    from finesweep.tokenization.settings import TokenizerSettings


@dataclass
class FloatLabels:
    """Make labels floats: those of a blank row, which counts for nothing, are whole numbers.

    Args:
        collator: makes the batches.
    """

    collator: Callable[[list[dict[str, Any]]], Any]

    def __call__(self, rows: list[dict[str, Any]]) -> Any:
        """Return the batch of some rows."""
        batch = self.collator(rows)
        batch["labels"] = batch["labels"].float()
        return batch


def holds_floats(labels: Any) -> bool:
    """Tell whether labels are floats, one or several, by their column's feature."""
    return getattr(labels, "feature", labels).dtype.startswith("float")


def padding_collator(settings: TokenizerSettings, tokenizer: PreTrainedTokenizerBase, labels: Any) -> Any:
    """Return transformers' collator for labels of a kind.

    Args:
        settings: say how batches are padded.
        tokenizer: pads them.
        labels: the labels' feature; whole numbers in a list are one for each token.
    """
    from datasets import List
    from transformers import DataCollatorForTokenClassification, DataCollatorWithPadding

    per_token = isinstance(labels, List) and not holds_floats(labels)
    collator = DataCollatorForTokenClassification if per_token else DataCollatorWithPadding
    if settings.padding == "max_length":
        return collator(tokenizer, padding="max_length", max_length=settings.max_length)
    return collator(tokenizer, pad_to_multiple_of=MULTIPLE if settings.padding == "multiple" else None)
