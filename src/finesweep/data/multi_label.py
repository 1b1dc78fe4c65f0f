"""Any number of labels for each text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

from finesweep.data.labels import MULTI, LabelSchema
from finesweep.errors import DataError, Fault


class MultiLabels:
    """Lists of labels, texts with a delimiter, or a 0 or 1 for each label; as lists of 0.0 and 1.0.

    An empty list is a row with no label at all, which is a valid answer; null is a missing one.

    Args:
        train: the train split's labels.
        class_names: names by value, for lists of ClassLabels; or the names of 0/1 columns.
        delimiter: between the labels of a text.
        column: where they come from, for messages.
        is_indicators: whether they come from columns of 0 and 1, whatever else may be in these.

    Raises:
        DataError: labels of an unsuitable type, or fewer than two.
    """

    def __init__(
        self,
        train: Sequence[Any],
        class_names: Sequence[str] | None,
        delimiter: str | None,
        column: str,
        *,
        is_indicators: bool = False,
    ) -> None:
        present = [value for value in train if value is not None]
        self._delimiter, self._length = delimiter, None
        if any(isinstance(value, str) for value in present) and delimiter is None:
            fix = "Set data.label_delimiter to what is between them: comma, semicolon, tab, bar, or a text."
            raise DataError(
                Fault("data.label_column", "Labels of a multi-label task are lists.", column, fix=fix)
            )
        values = [self._split(value) for value in present]
        if not all(isinstance(value, list) for value in values):
            rule = "Labels of a multi-label task are lists, texts with a delimiter, or columns of 0 and 1."
            raise DataError(Fault("data.label_column", rule, column))
        if is_indicators or _are_indicators(values):
            self._length = Counter(map(len, values)).most_common(1)[0][0]
            names = class_names or [str(i) for i in range(self._length)]
            ids: list[Any] = list(range(self._length))
        else:
            ids = sorted({label for value in values for label in value if label is not None}, key=_order)
            names = [class_names[i] if class_names else str(i) for i in ids]
        if len(ids) < 2:
            rule = f"A multi-label task needs two labels or more; train has {len(ids)}."
            raise DataError(Fault("data.label_column", rule, column))
        self.schema = LabelSchema(tuple(map(str, names)), tuple(ids), MULTI)
        self._ids = {value: i for i, value in enumerate(ids)}

    def invalid(self, values: Sequence[Any]) -> dict[str, list[int]]:
        """Find rows without labels, with unknown ones, and indicators of another length."""
        found: dict[str, list[int]] = {"no label": []}
        for row, value in enumerate(values):
            problem = self._problem(self._split(value))
            if problem:
                found.setdefault(problem, []).append(row)
        return found

    def encode(self, values: Sequence[Any]) -> list[list[float]]:
        """Return 0.0 or 1.0 for each label."""
        lists = [self._split(value) for value in values]
        if self._length:
            return [[float(number) for number in value] for value in lists]
        return [self._indicators(value) for value in lists]

    def strata(self, encoded: Sequence[list[float]]) -> list[Hashable]:
        """Keep each row's rarest label in proportion: whole combinations would mostly be unique."""
        counts = [sum(column) for column in zip(*encoded, strict=True)]
        return [
            min((i for i, present in enumerate(row) if present), key=lambda i: counts[i], default=-1)
            for row in encoded
        ]

    def _split(self, value: Any) -> Any:
        if isinstance(value, str) and self._delimiter is not None:
            return [part.strip() for part in value.split(self._delimiter) if part.strip()]
        return value

    def _problem(self, value: Any) -> str:
        if value is None or None in value:
            return "no label"
        if self._length is not None:
            are_flags = len(value) == self._length and all(number in (0, 1) for number in value)
            return "" if are_flags else f"not {self._length} numbers that are 0 or 1"
        unseen = next((label for label in value if label not in self._ids), None)
        return "" if unseen is None else f"a label that train doesn't have, `{unseen}`"

    def _indicators(self, labels: list[Any]) -> list[float]:
        row = [0.0] * len(self._ids)
        for label in labels:
            row[self._ids[label]] = 1.0
        return row


def _are_indicators(values: Sequence[list[Any]]) -> bool:
    """Say whether lists hold a 0 or 1 for each label, rather than the numbers of labels.

    Lists that mostly have one length, of two or more, and nothing but 0 and 1.
    """
    if not values or any(number not in (0, 1) or isinstance(number, str) for v in values for number in v):
        return False
    length, count = Counter(map(len, values)).most_common(1)[0]
    return length >= 2 and 2 * count > len(values)


def _order(label: Any) -> tuple[str, Any]:
    return type(label).__name__, label
