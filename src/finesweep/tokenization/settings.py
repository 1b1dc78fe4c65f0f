"""What an encoder is set to, and the kinds of data that it reads."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from datasets import DatasetDict
    from transformers import PreTrainedTokenizerBase

Kind = Literal["text", "pair", "words"]
Padding = Literal["longest", "max_length", "multiple"]
Truncation = Literal["longest", "first", "second", "head+tail"]
LongText = Literal["truncate", "windows"]
Pooling = Literal["mean", "max"]

MULTIPLE = 8  # tensor cores work on blocks of this many
# Columns that hold what is read, by the kind of data.
COLUMNS: dict[Kind, tuple[str, ...]] = {
    "text": ("text",),
    "pair": ("text", "text_pair"),
    "words": ("words",),
}


class TokenizerSettings(Protocol):
    """What is read of a TextEncoder by those that check it and pad for it."""

    name: str
    max_length: int
    padding: Padding
    truncation: Truncation
    long_text: LongText
    stride: int
    tokenizer: cached_property[PreTrainedTokenizerBase]

    @property
    def has_own_collator(self) -> bool:
        """Whether a collator was given."""
        ...


def kind_of(splits: DatasetDict) -> Kind:
    """Tell by the columns what a row is: a text, two texts, or words."""
    columns = next(iter(splits.values())).column_names
    if "words" in columns:
        return "words"
    return "pair" if "text_pair" in columns else "text"


def in_windows(settings: TokenizerSettings, kind: Kind) -> bool:
    """Tell whether long rows become several: always for words, or some would have no prediction."""
    return kind == "words" or settings.long_text == "windows"
