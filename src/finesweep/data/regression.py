"""A number for each text."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Hashable, Sequence
from decimal import Decimal
from typing import Any

from finesweep.data.labels import IGNORED, REGRESSION, LabelSchema, is_missing
from finesweep.data.written import written_numbers
from finesweep.errors import DataError, Fault

STRATA = 10
# A true -100 would count for nothing; 32 bits tell this one from it.
NEAR_IGNORED = IGNORED - 1e-5


class Targets:
    """Numbers, standardised by the train split's mean and standard deviation unless that is switched off.

    Args:
        train: the train split's targets.
        standardize: train on (target - mean) / deviation; every metric and prediction is in the target's
            own units all the same.
        column: where they come from, for messages.

    Raises:
        DataError: targets that are no numbers, or all the same.
    """

    def __init__(self, train: Sequence[Any], standardize: bool, column: str) -> None:
        numbers = [float(value) for value in train if _is_number(value) and math.isfinite(value)]
        if not numbers:
            rule = "A regression's targets are numbers; train has none."
            texts = [value for value in train if isinstance(value, str) and value]
            if written := written_numbers(texts):
                raise DataError(Fault("data.label_column", f"{rule} {written.rule}", column, fix=written.fix))
            raise DataError(Fault("data.label_column", rule, column, fix="Is it the right column?"))
        mean = math.fsum(numbers) / len(numbers)
        deviation = math.sqrt(math.fsum((number - mean) ** 2 for number in numbers) / len(numbers))
        if deviation == 0:
            rule = f"All targets of train are {numbers[0]:g}: there is nothing to learn."
            raise DataError(Fault("data.label_column", rule, column))
        scaling = {"mean": mean, "scale": deviation} if standardize else {}
        self.schema = LabelSchema((column,), (), REGRESSION, **scaling)

    def invalid(self, values: Sequence[Any]) -> dict[str, list[int]]:
        """Find rows without a target, with one that is no number, and with an infinite one."""
        found: dict[str, list[int]] = {
            "no label": [],
            "a label that is no number": [],
            "an infinite label": [],
        }
        for row, value in enumerate(values):
            if is_missing(value):
                found["no label"].append(row)
            elif not _is_number(value):
                found["a label that is no number"].append(row)
            elif not math.isfinite(value):
                found["an infinite label"].append(row)
        return found

    def encode(self, values: Sequence[Any]) -> list[float]:
        """Return standardised targets."""
        targets = [(float(value) - self.schema.mean) / self.schema.scale for value in values]
        return [NEAR_IGNORED if target == IGNORED else target for target in targets]

    def strata(self, encoded: Sequence[float]) -> list[Hashable]:
        """Keep each tenth of the targets in proportion."""
        ranked = sorted(encoded)
        edges = [ranked[len(ranked) * i // STRATA] for i in range(1, STRATA)]
        return [bisect_right(edges, value) for value in encoded]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)
