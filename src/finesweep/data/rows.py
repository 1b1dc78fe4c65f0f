"""One split as plain columns, between a source and the data object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from finesweep.data.spelling import normalized
from finesweep.data.written import read_lists
from finesweep.errors import DataError, Fault

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Rows:
    """One split's columns.

    Args:
        ids: row numbers in the source.
        texts: one column of texts, two for pairs, or one column of word lists.
        labels: as the source has them.
        extra: columns that splits are made by, by their key: `group`, `time`.
    """

    ids: Sequence[int]
    texts: tuple[list[Any], ...]
    labels: list[Any]
    extra: Mapping[str, list[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.ids)

    def select(self, positions: Sequence[int]) -> Rows:
        """Return the rows at some positions."""
        if len(positions) == len(self):
            return self
        return Rows(
            _at(self.ids, positions),
            tuple(_at(column, positions) for column in self.texts),
            _at(self.labels, positions),
            {name: _at(column, positions) for name, column in self.extra.items()},
        )

    @cached_property
    def contents(self) -> list[str]:
        """Each row's text as one string: both texts of a pair, the words of a sentence."""
        if len(self.texts) == 1:
            return [text if isinstance(text, str) else "\0".join(text) for text in self.texts[0]]
        return ["\0".join(texts) for texts in zip(*self.texts, strict=True)]

    @cached_property
    def keys(self) -> list[str]:
        """What makes rows copies of each other: case, white space and the order of a pair aside."""
        if len(self.texts) == 1:
            return list(map(normalized, self.contents))
        return ["\0".join(sorted(map(normalized, texts))) for texts in zip(*self.texts, strict=True)]


def read_rows(
    part: Dataset, text_columns: Sequence[str], label_columns: Sequence[str], extra: Mapping[str, str]
) -> Rows:
    """Take the columns that matter out of a split.

    Args:
        part: the split.
        text_columns: one or two.
        label_columns: one, or several that hold 0 and 1: labels are then lists.
        extra: names of the columns that splits are made by, as far as the split has them.
    """
    columns = [part[name][:] for name in label_columns]
    labels = columns[0] if len(columns) == 1 else [list(values) for values in zip(*columns, strict=True)]
    texts = tuple(part[name][:] for name in text_columns)
    made_by = {key: part[name][:] for key, name in extra.items() if name in part.column_names}
    return Rows(range(len(part)), texts, labels, made_by)


def with_lists(
    rows: Mapping[str, Rows], labels: Sequence[str], texts: Sequence[str], notes: list[str]
) -> dict[str, Rows]:
    """Read labels that are lists written as texts (`['a', 'b']`), and words beside them, as lists.

    Args:
        rows: of each split.
        labels: names of the label columns.
        texts: names of the text columns.
        notes: are added to.

    Raises:
        DataError: they all look like lists, and one can't be read.
    """
    read = {name: _lists(part.labels, labels[0], "data.label_column") for name, part in rows.items()}
    if len(labels) > 1 or None in read.values():
        return dict(rows)
    notes.append("labels are lists, written as texts")
    words: dict[str, Any] = dict.fromkeys(rows)
    if len(texts) == 1:
        words = {name: _lists(part.texts[0], texts[0], "data.text_column") for name, part in rows.items()}
    have_words = None not in words.values()
    return {
        name: replace(part, labels=read[name], texts=(words[name],) if have_words else part.texts)
        for name, part in rows.items()
    }


def _lists(values: Sequence[Any], column: str, key: str) -> list[Any] | None:
    try:
        return read_lists(values)
    except ValueError as error:
        rule = f"Its texts look like lists, and this one can't be read as one: {error}"
        fix = (
            'Write them as JSON does, ["a", "b"], all texts or all whole numbers; or data.task=single-label.'
        )
        raise DataError(Fault(key, rule, column, fix=fix)) from None


def _at(column: Sequence[Any], positions: Sequence[int]) -> list[Any]:
    return [column[position] for position in positions]
