"""One label for each text."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from finesweep.data.labels import LabelSchema, is_missing
from finesweep.errors import DataError, Fault

EXAMPLES = 5


class SingleLabels:
    """Texts, whole numbers, bools or ClassLabels, as sorted ids.

    Args:
        train: the train split's labels.
        class_names: names by value, for a ClassLabel.
        column: where they come from, for messages.

    Raises:
        DataError: labels of mixed or unsuitable types, or fewer than two.
    """

    def __init__(self, train: Sequence[Any], class_names: Sequence[str] | None, column: str) -> None:
        present = [value for value in train if not is_missing(value)]
        if class_names is not None:
            ids = sorted({value for value in present if value != -1})
            names = tuple(class_names[int(i)] for i in ids)
        else:
            _check_kinds(present, column)
            ids = sorted(set(present))
            names = tuple(_name(label) for label in ids)
        if len(ids) < 2:
            only = f"only `{names[0]}`" if names else "none"
            rule = f"Classification needs two labels or more; train has {only}."
            raise DataError(Fault("data.label_column", rule, column))
        self.schema = LabelSchema(names, tuple(ids))
        self._ids = {value: i for i, value in enumerate(ids)}
        self._class_names = class_names or ()

    def invalid(self, values: Sequence[Any]) -> dict[str, list[int]]:
        """Find rows without a label, and those whose label train doesn't have."""
        missing = [row for row, value in enumerate(values) if is_missing(value)]
        unseen: dict[str, list[int]] = {}
        for row, value in enumerate(values):
            if not is_missing(value) and value not in self._ids:
                unseen.setdefault(self._shown(value), []).append(row)
        if set(unseen) == {"-1"}:
            unlabelled = "the label -1, as unlabelled rows do (without the split, it is made from train)"
            return {"no label": missing, unlabelled: unseen["-1"]}
        return {"no label": missing} | {
            f"a label that train doesn't have, `{label}`": rows for label, rows in unseen.items()
        }

    def encode(self, values: Sequence[Any]) -> list[int]:
        """Map labels to ids."""
        return [self._ids[value] for value in values]

    def strata(self, encoded: Sequence[int]) -> list[Hashable]:
        """Keep each label in proportion."""
        return list(encoded)

    def _shown(self, value: Any) -> str:
        is_class = isinstance(value, int) and 0 <= value < len(self._class_names)
        return self._class_names[value] if is_class else str(value)


def _check_kinds(values: Sequence[Any], column: str) -> None:
    kinds = {type(value).__name__ for value in values}
    if kinds <= {"str"} or kinds <= {"int"} or kinds <= {"bool"} or _are_whole(values):
        return
    rule = f"Labels are all texts, all whole numbers or all bools; these are {', '.join(sorted(kinds))}."
    fix = "Is it the right column? Its values start with " + ", ".join(map(str, values[:EXAMPLES])) + "."
    raise DataError(Fault("data.label_column", rule, column, fix=fix))


def _are_whole(values: Sequence[Any]) -> bool:
    return all(type(value) is float and value.is_integer() for value in values)


def _name(label: Any) -> str:
    return str(int(label)) if isinstance(label, float) else str(label)
