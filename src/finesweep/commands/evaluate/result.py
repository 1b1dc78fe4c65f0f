"""What an assessment of a run came to."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from finesweep.commands.evaluate.figures import CalibrationBin, HardRow, LabelFigures
from finesweep.metrics.intervals import Interval
from finesweep.runs.ensemble import Gain
from finesweep.system.files import finite


@dataclass(frozen=True)
class Assessment:
    """What a run is worth on some rows.

    Args:
        run: its folder.
        task: its problem type.
        on: which rows.
        rows: how many.
        notes: what was left out.
        labels: their names.
        metrics: each with its interval.
        per_label: of all but regressions; of tokens each type of span.
        confusion: true label by predicted label; of single labels.
        calibration: of runs with probabilities.
        points: truth and prediction of a regression's rows, or of some of them.
        hardest: the rows that it is furthest off on.
        trials: the numbers of those whose predictions were averaged.
        gain: what that gains on validation.
        beside: metrics of the run's baseline and probe on the same rows; of those that were measured.
    """

    run: str
    task: str
    on: str
    rows: int
    notes: tuple[str, ...]
    labels: tuple[str, ...]
    metrics: dict[str, Interval]
    per_label: list[LabelFigures]
    confusion: list[list[int]]
    calibration: list[CalibrationBin]
    points: list[tuple[float, float]]
    hardest: list[HardRow]
    trials: tuple[int, ...] = ()
    gain: Gain | None = None
    beside: dict[str, dict[str, float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain values; an undefined number is null."""
        return finite(asdict(self))
