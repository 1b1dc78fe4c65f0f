"""What an assessment of a run came to."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from finesweep.commands.evaluate.confidence import Confidence
from finesweep.commands.evaluate.figures import CalibrationBin, HardRow, LabelFigures
from finesweep.metrics.intervals import Interval
from finesweep.runs.ensemble import Gain
from finesweep.system.files import finite

FEW_LABELS = 3  # of two, the one's mistakes are the other's
STANDS_OUT = 0.05  # below the mean F1 of the others


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
        confidence: what its probabilities are worth; None of a run without.
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
    confidence: Confidence | None = None
    beside: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def headline(self) -> str:
        """All of it in a sentence: "86% right; tech is the weak label (F1 0.75)"."""
        first, interval = next(iter(self.metrics.items()), ("", None))
        said = "" if interval is None or math.isnan(interval.value) else f"{first} {interval.value:.4f}"
        if self.confusion:
            right = sum(row[i] for i, row in enumerate(self.confusion))
            said = f"{right / max(self.rows, 1):.0%} right"
        weak = self._weak_label()
        return f"{said}; {weak}".strip("; ")

    def _weak_label(self) -> str:
        known = [part for part in self.per_label if part.rows]
        if len(known) < FEW_LABELS:
            return ""
        weakest = min(known, key=lambda part: part.f1)
        others = [part.f1 for part in known if part is not weakest]
        if sum(others) / len(others) - weakest.f1 < STANDS_OUT:
            return "no label stands out"
        return f"{weakest.label} is the weak label (F1 {weakest.f1:.2f})"

    def to_json(self) -> dict[str, Any]:
        """Return plain values; an undefined number is null."""
        return finite({"headline": self.headline, **asdict(self)})
