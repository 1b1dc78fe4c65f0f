"""From tags to spans, as conlleval reads them: leniently, and however the scheme is spelled."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

OUTSIDE = "O"
OTHER_OUTSIDES = ("o", "0")
UNTYPED = "_"  # the type of the spans of bare `B` and `I` tags
# L, U: BILOU's names for E, S; M, W: those of BMEW.
PREFIXES = {"B": "B", "I": "I", "E": "E", "S": "S", "L": "E", "U": "S", "M": "I", "W": "S"}
# B-PER, B_PER; PER-B, PER_B
BEFORE = re.compile(r"([BIESLUMW])([-_:/.|])(.*)", re.IGNORECASE)
AFTER = re.compile(r"(.+)([-_:/.|])([BIESLUMW])", re.IGNORECASE)


class Span(NamedTuple):
    """A run of words of one type.

    Args:
        type: what the tags say beside their prefix.
        first: position of its first word.
        last: position of its last word.
    """

    type: str
    first: int
    last: int


class Scheme:
    """How a task's tags say where spans begin and end.

    IOB1, IOB2, IOE, BIOES, BILOU and BMEW are told by their letters, in front of the type or behind it. Tags
    without them are like `I-` (the IO scheme). Outside is `O`; where there is none, `o` or `0`.

    Args:
        names: every tag of the task.
    """

    def __init__(self, names: Sequence[str]) -> None:
        outsides = [name for name in (OUTSIDE, *OTHER_OUTSIDES) if name in names]
        self.outside = outsides[0] if outsides else OUTSIDE
        inside = [name for name in names if name != self.outside]
        self._read = next((read for read in (_before, _after) if _suits(read, inside)), _plain)
        self._parts = {name: self._read(name) for name in inside} | {self.outside: (OUTSIDE, "")}

    def split(self, tag: str) -> tuple[str, str]:
        """Return a tag's prefix (B, I, E, S or O) and its type."""
        return self._parts.get(tag) or self._read(tag)


@functools.lru_cache(maxsize=32)
def scheme_of(names: tuple[str, ...]) -> Scheme:
    """Return the scheme of a task's tags."""
    return Scheme(names)


def find_spans(tags: Sequence[str], names: Sequence[str]) -> Iterator[Span]:
    """Yield the spans of one row, in order.

    Lenient: an `I-` with no `B-` before it, or after another type, begins a span. `E-` and `S-` end a span.
    The rules are those of conlleval (CoNLL-2000).

    Args:
        tags: of the row's words.
        names: every tag of the task, which say what the scheme is.
    """
    split = scheme_of(tuple(names)).split
    first, before, type_before = 0, OUTSIDE, ""
    for position, (prefix, type_) in enumerate((*map(split, tags), (OUTSIDE, ""))):
        if type_ != type_before or prefix not in ("I", "E") or before not in ("B", "I"):
            if before != OUTSIDE:
                yield Span(type_before, first, position - 1)
            first = position
        before, type_before = prefix, type_


def span_types(tags: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Return the types that tags speak of, in their order; `names` are every tag of the task."""
    parts = map(scheme_of(tuple(names)).split, tags)
    return tuple(dict.fromkeys(type_ for prefix, type_ in parts if prefix != OUTSIDE))


def broken_spans(tags: Sequence[str], names: Sequence[str]) -> int:
    """Count tags I-X that follow neither B-X nor I-X: each is read as the start of a span.

    Where no tag is B-, spans are meant to start with I-.
    """
    split = scheme_of(tuple(names)).split
    if all(split(name)[0] != "B" for name in names):
        return 0
    parts = [("", ""), *map(split, tags)]
    return sum(
        prefix == "I" and (before not in ("B", "I") or type_before != type_)
        for (before, type_before), (prefix, type_) in pairwise(parts)
    )


def _suits(read: Callable[[str], tuple[str, str]], names: Sequence[str]) -> bool:
    """Say whether all names have a letter at one end, I among them: `plan-B` alone is no scheme."""
    letters = {read(name)[0] for name in names}
    return "I" in letters and "" not in letters


def _before(tag: str) -> tuple[str, str]:
    found = BEFORE.fullmatch(tag)
    letter, type_ = (found[1], found[3] or UNTYPED) if found else (tag, UNTYPED)
    return PREFIXES.get(letter.upper(), ""), type_


def _after(tag: str) -> tuple[str, str]:
    found = AFTER.fullmatch(tag)
    letter, type_ = (found[3], found[1]) if found else (tag, UNTYPED)
    return PREFIXES.get(letter.upper(), ""), type_


def _plain(tag: str) -> tuple[str, str]:
    """Read tags of which not all have a letter: `B-PER` has one, `PER` is like `I-PER`."""
    prefix, dash, type_ = tag.partition("-")
    if dash and prefix in PREFIXES:
        return PREFIXES[prefix], type_ or UNTYPED
    return (tag, UNTYPED) if tag in ("B", "I", "E", "S") else ("I", tag)
