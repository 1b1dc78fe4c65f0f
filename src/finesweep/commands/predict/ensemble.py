"""Several trials as one predictor: the mean of what each of them predicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from finesweep.commands.predict.predictor import Predictions, Predictor, arranged
from finesweep.data.labels import REGRESSION
from finesweep.metrics.scores import Scored, averaged
from finesweep.runs.ensemble import Ensemble

if TYPE_CHECKING:
    from finesweep.data.labels import LabelSchema
    from finesweep.runs.saved import SavedRun
    from finesweep.tokenization.settings import Kind


class EnsemblePredictor:
    """Predict with several trials of a sweep.

    Args:
        ensemble: which.
        batch_size: rows in a batch.
        device: as torch calls it; None: a GPU where there is one.
    """

    def __init__(self, ensemble: Ensemble, batch_size: int = 64, device: str | None = None) -> None:
        self._members = [Predictor(run, batch_size, device) for run in ensemble.runs.values()]
        self._thresholds = ensemble.thresholds
        self.schema: LabelSchema = ensemble.best.schema
        self.kind: Kind = self._members[0].kind
        self.passes = len(self._members)

    def predict(
        self, *columns: Sequence[Any], advance: Callable[[int], None] = lambda count: None
    ) -> Predictions:
        """Return the mean predictions for some rows; a row that one trial can't read has none.

        Args:
            columns: the texts; both columns of pairs.
            advance: is called with the number of rows whenever a trial has done some.
        """
        found = [member.predict(*columns, advance=advance) for member in self._members]
        each = zip(*(one.problems for one in found), strict=True)
        problems = [next(filter(None, row), None) for row in each]
        good = [row for row, problem in enumerate(problems) if problem is None]
        if not good:
            return arranged(Scored([], []), None, good, problems, self.schema)
        members = [_scored(one, good, self.schema) for one in found]
        mean = averaged(members, self.schema, self._thresholds)
        return arranged(mean, None, good, problems, self.schema)


def predictor_of(
    model: SavedRun | Ensemble, batch_size: int = 64, device: str | None = None
) -> Predictor | EnsemblePredictor:
    """Load what predicts: one run, or the mean of several."""
    if isinstance(model, Ensemble):
        return EnsemblePredictor(model, batch_size, device)
    return Predictor(model, batch_size, device)


def _scored(found: Predictions, rows: list[int], schema: LabelSchema) -> Scored:
    """Return some rows' predictions; averaging looks at nothing else."""
    if schema.problem_type == REGRESSION:
        return Scored(np.array([found.predicted[row] for row in rows]), [])
    assert found.probabilities is not None
    return Scored([], [], found.probabilities[rows])
