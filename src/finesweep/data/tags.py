"""A tag for each word: token classification."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from finesweep.data.labels import TOKENS, LabelSchema
from finesweep.errors import DataError, Fault

OUTSIDE = "O"


class Tags:
    """Lists of tags, one for each word, as lists of ids.

    Args:
        train: the train split's tags.
        class_names: names by value, for lists of ClassLabels.
        column: where they come from, for messages.

    Raises:
        DataError: labels that are no lists, or fewer than two tags.
    """

    def __init__(self, train: Sequence[Any], class_names: Sequence[str] | None, column: str) -> None:
        lists = [value for value in train if value is not None]
        if not all(isinstance(value, list) for value in lists):
            rule = "Labels of token classification are lists, with a tag for each word."
            raise DataError(Fault("data.label_column", rule, column))
        present = {tag for value in lists for tag in value if tag is not None}
        values = list(range(len(class_names))) if class_names else sorted(present, key=str)
        if len(present) < 2:
            rule = f"Token classification needs two tags or more; train has {len(present)}."
            raise DataError(Fault("data.label_column", rule, column))
        names = tuple(class_names) if class_names else tuple(str(value) for value in values)
        self.schema = LabelSchema(names, tuple(values), TOKENS)
        self._ids = {value: i for i, value in enumerate(values)}

    def invalid(self, values: Sequence[Any]) -> dict[str, list[int]]:
        """Find rows without tags, and with tags that train doesn't have."""
        found: dict[str, list[int]] = {"no label": []}
        for row, tags in enumerate(values):
            if tags is None or None in tags:
                found["no label"].append(row)
            elif unseen := [tag for tag in tags if tag not in self._ids]:
                found.setdefault(f"a tag that train doesn't have, `{unseen[0]}`", []).append(row)
        return found

    def encode(self, values: Sequence[Any]) -> list[list[int]]:
        """Map tags to ids."""
        return [[self._ids[tag] for tag in tags] for tags in values]

    def strata(self, encoded: Sequence[list[int]]) -> list[Hashable]:
        """Keep each row's rarest tag in proportion."""
        counts: dict[int, int] = {}
        for tags in encoded:
            for tag in set(tags):
                counts[tag] = counts.get(tag, 0) + 1
        return [min(set(tags), key=lambda tag: (counts[tag], tag), default=-1) for tags in encoded]


def broken_spans(tags: Sequence[str]) -> int:
    """Count tags I-X that follow neither B-X nor I-X: each is read as the start of a span."""
    before = ["", *tags]
    return sum(
        tag.startswith("I-") and previous[2:] != tag[2:] for previous, tag in zip(before, tags, strict=False)
    )
