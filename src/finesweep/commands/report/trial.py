"""One trial of a sweep, as its report reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class TrialRecord:
    """One trial.

    Args:
        number: its number.
        state: complete, pruned, fail, running or waiting.
        values: one for each objective; those of a pruned trial are of its last evaluation.
        params: what was searched.
        curve: step and objective of each evaluation.
        start: seconds after the sweep's first trial; None where it never started.
        seconds: how long it ran, or has run.
        worker: which process ran it last.
        trainable: number of trained parameters.
        metrics: final metrics by name.
        error: why it failed.
        half_width: of the 95% interval of its objective over other rows; None where it isn't known.
        origin: the earlier sweep that its point is from, or the trial that it repeats with another seed.
        repeats: that trial's number; None where it is one of the search's own.
        alone: its objective when it was trained once more by itself, after a pack; None where it wasn't.
        prediction: of the test split: texts, seconds, device; empty where it has not been tested.
    """

    number: int
    state: str
    values: tuple[float, ...]
    params: dict[str, Any]
    curve: tuple[tuple[int, float], ...] = ()
    start: float | None = None
    seconds: float = 0.0
    worker: str = ""
    trainable: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    error: str = ""
    half_width: float | None = None
    origin: str = ""
    repeats: int | None = None
    alone: float | None = None
    prediction: dict[str, Any] = field(default_factory=dict)

    @property
    def value(self) -> float | None:
        """The first objective."""
        return self.values[0] if self.values else None
