"""From tags to spans, as conlleval reads them: leniently."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

OUTSIDE = "O"
UNTYPED = "_"  # the type of the spans of bare `B` and `I` tags
PREFIXES = {"B": "B", "I": "I", "E": "E", "S": "S", "L": "E", "U": "S"}  # L, U: BILOU's names for E, S


class Span(NamedTuple):
    """A run of words of one type.

    Args:
        type: what the tags say after their prefix.
        first: position of its first word.
        last: position of its last word.
    """

    type: str
    first: int
    last: int


def find_spans(tags: Sequence[str]) -> Iterator[Span]:
    """Yield the spans of one row, in order.

    Lenient: an `I-` with no `B-` before it, or after another type, begins a span. A tag without a prefix
    is like `I-` (the IO scheme). `E-` and `S-` end a span. The rules are those of conlleval (CoNLL-2000).
    """
    first, before, type_before = 0, OUTSIDE, ""
    for position, tag in enumerate((*tags, OUTSIDE)):
        prefix, type_ = split_tag(tag)
        if type_ != type_before or prefix not in ("I", "E") or before not in ("B", "I"):
            if before != OUTSIDE:
                yield Span(type_before, first, position - 1)
            first = position
        before, type_before = prefix, type_


def split_tag(tag: str) -> tuple[str, str]:
    """Return a tag's prefix (B, I, E, S or O) and its type."""
    if tag == OUTSIDE:
        return OUTSIDE, ""
    prefix, dash, type_ = tag.partition("-")
    if dash and prefix in PREFIXES:
        return PREFIXES[prefix], type_ or UNTYPED
    return (tag, UNTYPED) if tag in ("B", "I", "E", "S") else ("I", tag)


def span_types(tags: Sequence[str]) -> tuple[str, ...]:
    """Return the types that a list of tag names speaks of, in its order."""
    return tuple(dict.fromkeys(split_tag(tag)[1] for tag in tags if tag != OUTSIDE))
