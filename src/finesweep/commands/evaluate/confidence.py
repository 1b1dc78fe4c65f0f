"""How far probabilities can be trusted: calibration error, temperature, how right the surest rows are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finesweep.data.labels import SINGLE

if TYPE_CHECKING:
    import numpy as np

    from finesweep.commands.evaluate.figures import CalibrationBin
    from finesweep.data.labels import LabelSchema
    from finesweep.metrics.scores import Scored

SHARES = (1.0, 0.9, 0.8, 0.7, 0.5)
TEMPERATURES = (0.05, 20.0)
SMALLEST = 1e-12


@dataclass(frozen=True)
class Coverage:
    """The surest rows.

    Args:
        share: of all rows.
        least: the probability that each of their predictions has at least.
        accuracy: share of them that are right.
    """

    share: float
    least: float
    accuracy: float


@dataclass(frozen=True)
class Confidence:
    """What probabilities are worth.

    Args:
        calibration_error: mean distance between the bins' probability and accuracy, by count (Naeini, Cooper
            and Hauskrecht 2015, doi:10.1609/aaai.v29i1.9602).
        temperature: by which logits would have to be divided to fit these rows best (Guo et al. 2017, arXiv
            1706.04599): above 1 where the run is too sure of itself. None where there may be several labels.
        coverage: how right the surest rows are; empty where there may be several labels.
    """

    calibration_error: float
    temperature: float | None = None
    coverage: tuple[Coverage, ...] = ()


def confidence_of(scored: Scored, bins: Sequence[CalibrationBin], schema: LabelSchema) -> Confidence | None:
    """Return what a split's probabilities are worth; None where there are none."""
    if not bins:
        return None
    total = sum(one.count for one in bins)
    error = sum(one.count * abs(one.accuracy - one.confidence) for one in bins) / total
    if schema.problem_type != SINGLE:
        return Confidence(error)
    right = scored.predicted == scored.truth
    return Confidence(
        error,
        best_temperature(scored.probabilities, scored.truth),
        tuple(_coverage(scored.probabilities.max(-1), right, share) for share in SHARES),
    )


def best_temperature(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Return the temperature with the least log loss, within TEMPERATURES.

    Args:
        probabilities: (rows, labels); their logarithms are logits, but for a constant in each row.
        truth: (rows,) ids.
    """
    import numpy as np
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    logits = np.log(np.clip(probabilities, SMALLEST, 1))
    rows = np.arange(len(truth))

    def loss(log_temperature: float) -> float:
        return -float(log_softmax(logits / np.exp(log_temperature), axis=-1)[rows, truth].mean())

    found = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded")
    return float(np.exp(found.x))


def _coverage(confidence: np.ndarray, right: np.ndarray, share: float) -> Coverage:
    import numpy as np

    surest = np.argsort(-confidence, kind="stable")[: max(1, round(share * len(confidence)))]
    return Coverage(share, float(confidence[surest].min()), float(np.asarray(right)[surest].mean()))
