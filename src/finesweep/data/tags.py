"""A tag for each word: token classification."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

from finesweep.data.labels import IGNORED, TOKENS, LabelSchema
from finesweep.errors import DataError, Fault

NUMBER = re.compile(r"-?\d+")


class Tags:
    """Lists of tags, one for each word, as lists of ids.

    A negative number (-100, as torch and transformers have it), and what is in `ignored`, marks a word that
    doesn't count: in no loss and in no metric.

    Args:
        train: the train split's tags.
        class_names: names by value, for lists of ClassLabels.
        column: where they come from, for messages.
        names: of tags that are whole numbers, in the order of these, from 0.
        ignored: tags of words that don't count.

    Raises:
        DataError: labels that are no lists, fewer than two tags, numbers whose names nothing says.
    """

    def __init__(
        self,
        train: Sequence[Any],
        class_names: Sequence[str] | None,
        column: str,
        names: Sequence[Any] | None = None,
        ignored: Sequence[str] = (),
    ) -> None:
        self._ignored = frozenset(ignored)
        lists = [value for value in train if value is not None]
        if not all(isinstance(value, list) for value in lists):
            rule = "Labels of token classification are lists, with a tag for each word."
            raise DataError(Fault("data.label_column", rule, column))
        present = {tag for value in lists for tag in value if not (tag is None or self._is_ignored(tag))}
        if len(present) < 2:
            rule = f"Token classification needs two tags or more; train has {len(present)}."
            raise DataError(Fault("data.label_column", rule, column))
        if class_names is None and all(map(_is_number, present)):
            class_names = _names_of_numbers(present, names, column)
            values: list[Any] = [type(next(iter(present)))(i) for i in range(len(class_names))]
        else:
            values = list(range(len(class_names))) if class_names else sorted(present, key=str)
        shown = tuple(map(str, class_names or values))
        self.schema = LabelSchema(shown, tuple(values), TOKENS)
        self._ids = {value: i for i, value in enumerate(values)}

    def invalid(self, values: Sequence[Any]) -> dict[str, list[int]]:
        """Find rows without tags, and with tags that train doesn't have."""
        found: dict[str, list[int]] = {"no label": []}
        for row, tags in enumerate(values):
            if tags is None or None in tags:
                found["no label"].append(row)
            elif unseen := [tag for tag in tags if tag not in self._ids and not self._is_ignored(tag)]:
                found.setdefault(f"a tag that train doesn't have, `{unseen[0]}`", []).append(row)
        return found

    def encode(self, values: Sequence[Any]) -> list[list[int]]:
        """Map tags to ids, those of words that don't count to -100."""
        return [[self._ids.get(tag, IGNORED) for tag in tags] for tags in values]

    def strata(self, encoded: Sequence[list[int]]) -> list[Hashable]:
        """Keep each row's rarest tag in proportion."""
        there = [set(tags) - {IGNORED} for tags in encoded]
        counts = Counter(tag for tags in there for tag in tags)
        return [min(tags, key=lambda tag: (counts[tag], tag), default=-1) for tags in there]

    def _is_ignored(self, tag: Any) -> bool:
        return str(tag) in self._ignored or (_is_number(tag) and int(tag) < 0)


def tag_names(ids: Sequence[int], names: Sequence[str]) -> list[str]:
    """Return the tags of the words that count."""
    return [names[i] for i in ids if i != IGNORED]


def _is_number(tag: Any) -> bool:
    return type(tag) is int or (isinstance(tag, str) and NUMBER.fullmatch(tag) is not None)


def _names_of_numbers(present: set[Any], names: Sequence[Any] | None, column: str) -> Sequence[str]:
    """Return the names that the config gives to numbers.

    Raises:
        DataError: it gives none, or fewer than there are numbers.
    """
    highest = max(map(int, present))
    order = "in the order of the numbers, from 0"
    if names is None:
        shown = ", ".join(map(str, sorted(map(int, present))[:8]))
        rule = f"The tags are numbers without names ({shown}), which don't say what is outside a span."
        fix = f"Give the names {order}: data.label_names=[O,B-PER,I-PER,...]"
        raise DataError(Fault("data.label_column", rule, column, fix=fix))
    if highest >= len(names):
        rule = f"The tags are numbers up to {highest}, and {len(names)} names are given."
        raise DataError(Fault("data.label_names", rule, list(names), fix=f"Give all names, {order}."))
    return [str(name) for name in names]
