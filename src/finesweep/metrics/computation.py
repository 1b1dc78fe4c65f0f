"""The chosen metrics of one split's predictions."""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from finesweep.metrics.own import OWN
from finesweep.metrics.registry import METRICS
from finesweep.system.cache import writable

if TYPE_CHECKING:
    from finesweep.data.labels import LabelSchema
    from finesweep.metrics.scores import Scored


def compute_metrics(chosen: Sequence[str], scored: Scored, schema: LabelSchema) -> dict[str, float]:
    """Compute the chosen metrics of one split.

    What has no value is NaN, without a warning: an area under a curve when no label has rows that it
    needs, a correlation or R² with a constant side, anything read from a prediction that is not finite.
    Precision, recall and F1 with nothing to find and nothing found are 0.

    Args:
        chosen: names that the schema's problem type has in METRICS.
        scored: one row or more.
        schema: supplies the problem type and the label names.

    Returns:
        One number for each metric; `f1_per_class` gives one for each label, as `f1/<label>`, and
        `span_f1_per_type` one for each type of span, as `span_f1/<type>`.
    """
    assert len(scored.truth), "a split without rows has no metrics"
    values: dict[str, float] = {}
    for name in chosen:
        module = OWN.get(name) or _module(METRICS[name].classes[schema.problem_type])
        read = getattr(scored, module.READS)
        if not _finite(read):  # scikit-learn would raise; the guard against a diverged run comes after this
            values[name] = math.nan
            continue
        result = module.values(read, scored.truth, schema.names)
        values |= {key: float(value) for key, value in result.items()}
    return values


@functools.cache
def _module(path: str) -> Any:
    module, name = path.split(".")
    place = str(writable("metrics"))  # evaluate makes a folder for each, in which nothing is kept
    made = getattr(importlib.import_module(f"finesweep.metrics.{module}"), name)
    return made(keep_in_memory=True, cache_dir=place)


def _finite(values: Any) -> bool:
    import numpy as np

    floats = isinstance(values, np.ndarray) and values.dtype.kind == "f"
    return not floats or bool(np.isfinite(values).all())
