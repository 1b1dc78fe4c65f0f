"""What a run's result has to beat: the baseline, which reads no text, and the probe, a linear model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BASELINE, PROBE = YARDSTICKS = ("baseline", "probe")  # in result.json
LINEAR = "a linear model on the frozen encoder"


@dataclass(frozen=True)
class Yardsticks:
    """The objective of a run on one split, and what it is measured by.

    Args:
        metric: the objective.
        split: test where the run has read it, else validation.
        value: the run's own.
        baseline: None where it wasn't measured.
        probe: None where it wasn't measured.
        maximizes: whether more is better.
    """

    metric: str
    split: str
    value: float
    baseline: float | None
    probe: float | None
    maximizes: bool

    @property
    def is_no_better(self) -> bool:
        """Whether the run doesn't beat its probe."""
        return self.probe is not None and no_better(self.value, self.probe, maximizes=self.maximizes)

    def sentence(self) -> str:
        """Say what stands beside the run; nothing where nothing was measured."""
        found = {f"the probe, {LINEAR},": self.probe, "the baseline, which reads no text,": self.baseline}
        known = [f"{name} {value:.4f}" for name, value in found.items() if value is not None]
        if not known:
            return ""
        if self.is_no_better:
            return doubt(self.metric, self.split, self.value, self.probe or 0.0)
        return f"Beside it, {self.metric} on the {self.split} split: {'; '.join(known)}."


def yardsticks(result: Mapping[str, Any]) -> Yardsticks | None:
    """Return what a run is measured by, from its result.json; None where that doesn't say."""
    objective, metrics = result.get("objective", {}), result.get("metrics", {})
    metric = objective.get("metric")
    split = "test" if f"test/{metric}" in metrics else "validation"
    name, maximizes = f"{split}/{metric}", objective.get("direction") == "maximize"
    if name not in metrics:
        return None
    baseline, probe = (result.get(kind, {}).get(name) for kind in YARDSTICKS)
    return Yardsticks(str(metric), split, metrics[name], baseline, probe, maximizes)


def beside(result: Mapping[str, Any], split: str) -> dict[str, dict[str, float]]:
    """Return the metrics of a split's baseline and probe; of those that were measured."""
    found: dict[str, dict[str, float]] = {}
    for kind in YARDSTICKS:
        for name, value in result.get(kind, {}).items():
            of, _, metric = name.partition("/")
            if of == split:
                found.setdefault(kind, {})[metric] = value
    return found


def no_better(value: float, probe: float, *, maximizes: bool) -> bool:
    """Whether a run's value doesn't beat its probe's; what is undefined says nothing."""
    return value <= probe if maximizes else value >= probe


def doubt(metric: str, split: str, value: float, probe: float) -> str:
    """Say that a fine-tuning was not worth its while."""
    return (
        f"This fine-tuning does not beat its probe: {metric} {value:.4f} on the {split} split, where "
        f"{LINEAR} reaches {probe:.4f} in seconds."
    )
