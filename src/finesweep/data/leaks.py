"""What a split that measures shares with one that is trained on: texts, groups, times."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from finesweep.data.checks import examples
from finesweep.data.likeness import nearly_equal
from finesweep.data.rows import Rows
from finesweep.data.spelling import normalized, normalized_name

Positions = list[int]


@dataclass(frozen=True)
class Leak:
    """Rows of one split that have a counterpart in another.

    Args:
        split: the one that measures.
        copies: positions of its rows.
        source: that other split.
        originals: positions of the counterparts there.
        what: the end of "3 of 24 test rows ...".
    """

    split: str
    copies: Positions
    source: str
    originals: Positions
    what: str

    def describe(self, splits: Mapping[str, Rows]) -> str:
        """Say how many there are and which."""
        rows = splits[self.split]
        count = f"{len(self.copies)} of {len(rows)} {self.split} rows"
        return f"{count} {self.what}: {examples(rows, self.copies)}"


def find_leaks(splits: Mapping[str, Rows]) -> list[Leak]:
    """Find what a later split shares with an earlier one.

    Args:
        splits: train, validation and test, or some of them, in this order.
    """
    names = list(splits)
    pairs = [(later, earlier) for i, later in enumerate(names) for earlier in names[:i]]
    return [leak for pair in pairs for leak in _leaks(splits, *pair) if leak.copies]


def _leaks(splits: Mapping[str, Rows], split: str, source: str) -> Iterator[Leak]:
    later, earlier = splits[split], splits[source]

    def leak(copies: Iterable[int], originals: Iterable[int], what: str) -> Leak:
        return Leak(split, sorted(copies), source, sorted(originals), what)

    equal = _shared(later.keys, earlier.keys)
    yield leak(*equal, _how_equal(later, earlier, equal, source))
    others, sources = _other_rows(later, equal[0]), _other_rows(earlier, equal[1])
    near = nearly_equal([later.keys[row] for row in others], [earlier.keys[row] for row in sources])
    found = {others[i] for i, _ in near}, {sources[i] for _, i in near}
    yield leak(*found, f"are those of {source} but for a few characters")
    if len(later.texts) == 2:
        halves = _shared_halves(later, earlier)
        together = "data.split.group=COLUMN keeps the rows of one text together"
        what = f"have one of their two texts in common with rows of {source} ({together})"
        yield leak(halves[0] - {*equal[0]}, halves[1] - {*equal[1]}, what)
    if "group" in later.extra and "group" in earlier.extra:
        groups = _shared(_names(later), _names(earlier))
        yield leak(*groups, f"are of groups that are also in {source} (data.split.group)")
    if "time" in later.extra and "time" in earlier.extra:
        yield leak(*_overlap(later, earlier), f"are earlier than rows of {source} (data.split.time)")


def _other_rows(rows: Rows, positions: Positions) -> Positions:
    known = {*positions}
    return [row for row in range(len(rows)) if row not in known]


def _shared(later: Sequence[Hashable], earlier: Sequence[Hashable]) -> tuple[Positions, Positions]:
    """Return the positions of values that both have; None is no value."""
    both = ({*later} & {*earlier}) - {None}
    first = [row for row, value in enumerate(later) if value in both]
    return first, [row for row, value in enumerate(earlier) if value in both]


def _how_equal(later: Rows, earlier: Rows, equal: tuple[Positions, Positions], source: str) -> str:
    """Say that rows are in another split, and how many of them to the letter, or the other way round."""
    letters = {earlier.contents[row] for row in equal[1]}
    words = [f"{sum(later.contents[row] in letters for row in equal[0])} of them to the letter"]
    if len(later.texts) == 2:
        in_order = {normalized(earlier.contents[row]) for row in equal[1]}
        swapped = sum(normalized(later.contents[row]) not in in_order for row in equal[0])
        words += [f"{swapped} as a pair the other way round"] if swapped else []
    return f"are also in {source} ({', '.join(words)})"


def _shared_halves(later: Rows, earlier: Rows) -> tuple[set[int], set[int]]:
    """Return the positions of pairs of which the other split has one text, on whichever side."""
    halves = [
        [tuple(map(normalized, pair)) for pair in zip(*rows.texts, strict=True)] for rows in (later, earlier)
    ]
    both = {half for pair in halves[0] for half in pair} & {half for pair in halves[1] for half in pair}
    first, second = ({row for row, pair in enumerate(some) if both & {*pair}} for some in halves)
    return first, second


def _overlap(later: Rows, earlier: Rows) -> tuple[Positions, Positions]:
    """Return the rows before the other split's last one, and its rows after the first of these."""
    times = [[time for time in rows.extra["time"] if time is not None] for rows in (later, earlier)]
    if not all(times):
        return [], []
    first, last = min(times[0]), max(times[1])
    return (
        [row for row, time in enumerate(later.extra["time"]) if time is not None and time < last],
        [row for row, time in enumerate(earlier.extra["time"]) if time is not None and time > first],
    )


def _names(rows: Rows) -> list[str | None]:
    return [None if value is None else normalized_name(value) for value in rows.extra["group"]]
