"""What all metric modules share."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import datasets
import evaluate

NUMBER = datasets.Value("float64")
LABEL_ID = datasets.Value("int64")
TAGS = datasets.Sequence(datasets.Value("string"))
ONE_FOR_EACH_LABEL = datasets.Sequence(LABEL_ID)
PROBABILITIES = datasets.Sequence(NUMBER)


class LocalMetric(evaluate.Metric):
    """A metric that is part of this package: `compute` reads nothing from the network.

    `compute(predictions=..., references=..., label_names=...)` gives a dict of numbers.

    Args:
        READS: which part of `Scored` its predictions are.
        PREDICTIONS: the type of one row's prediction.
        REFERENCES: the type of one row's truth.
    """

    READS: ClassVar[Literal["predicted", "probabilities"]] = "predicted"
    PREDICTIONS: ClassVar[Any] = LABEL_ID
    REFERENCES: ClassVar[Any] = LABEL_ID

    def values(self, predictions: Any, references: Any, label_names: Any) -> dict[str, float]:
        """Compute the same as `compute`, without what `evaluate` does around it, which takes milliseconds."""
        return self._compute(predictions, references, label_names)  # type: ignore[no-any-return]

    def _info(self) -> evaluate.MetricInfo:
        features = datasets.Features({"predictions": self.PREDICTIONS, "references": self.REFERENCES})
        return evaluate.MetricInfo(
            description=self.__doc__ or "",
            citation="",
            inputs_description="predictions, references: one for each row; label_names: by label id",
            features=features,
        )


def mean_of_defined(values: Iterable[float]) -> float:
    """Return the mean of the values that are not NaN; NaN if there are none."""
    defined = [value for value in values if not math.isnan(value)]
    return math.fsum(defined) / len(defined) if defined else math.nan
