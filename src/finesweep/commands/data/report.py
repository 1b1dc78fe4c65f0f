"""What one wants to know of a data set before training on it, as plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from finesweep.commands.data.distribution import Distribution, distributions
from finesweep.commands.data.examples import Example, find_examples
from finesweep.commands.data.lengths import Lengths, measure
from finesweep.data.labels import REGRESSION
from finesweep.metrics import METRICS
from finesweep.runs.evaluation import Evaluator, truth_of
from finesweep.runs.yardsticks import PROBE, beside
from finesweep.tokenization.notes import truncation_warnings, unknown_warnings

if TYPE_CHECKING:
    import numpy as np

    from finesweep.data import TextData
    from finesweep.data.labels import LabelSchema
    from finesweep.tokenization.encoder import TextEncoder
    from finesweep.tokenization.notes import Encoded

EVALUATED = ("validation", "test")
DIGITS = 5  # of a standardised target, behind the point; 32 bits hold one or two more


@dataclass(frozen=True)
class Report:
    """A data set as a run would see it.

    Args:
        command: the command that would start the run.
        problem_type: as in transformers' configs, or `token_classification`.
        objective: the metric that the run would be judged by.
        labels: the names, in the order of their ids.
        notes: what was decided, dropped and made on the way.
        warnings: what is doubtful about the rows, and whether many texts are cut.
        class_weights: what each label counts in the loss; empty: all the same.
        metrics: that are one number, in the order of the config.
        splits: the labels of each split.
        baseline: for validation and test, each metric of an answer that doesn't read the text.
        lengths: of the texts, in tokens.
        examples: a few rows of each label.
        probe: for validation, each metric of a linear model on the frozen encoder; empty where not asked for.
    """

    command: str
    problem_type: str
    objective: str
    labels: tuple[str, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    class_weights: dict[str, float]
    metrics: tuple[str, ...]
    splits: dict[str, Distribution]
    baseline: dict[str, dict[str, float]]
    lengths: Lengths
    examples: dict[str, list[Example]] = field(default_factory=dict)
    probe: dict[str, dict[str, float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain values; a number that isn't finite becomes null, which JSON has no other word for."""
        return _plain({"starts": True, **asdict(self)})


def make_report(
    data: TextData,
    encoder: TextEncoder,
    encoded: Encoded,
    *,
    objective: str = "",
    command: str = "",
    probe: Mapping[str, float] | None = None,
) -> Report:
    """Describe encoded data.

    Args:
        data: the splits, with the metrics that a run would compute.
        encoder: what encoded them.
        encoded: the splits as tokens.
        objective: the metric that a run would be judged by.
        command: the command that would start the run.
        probe: its metrics on validation, where it was measured.
    """
    truths = {str(split): truth_of(data, str(split)) for split in data.splits}
    if data.schema.problem_type == REGRESSION:
        truths = {split: _without_noise(truth, data.schema) for split, truth in truths.items()}
    evaluator = Evaluator(data, encoded, encoder.pooling)
    baseline = {
        split: {name.removeprefix(f"{split}/"): value for name, value in evaluator.baseline(split).items()}
        for split in EVALUATED
    }
    return Report(
        command=command,
        problem_type=data.schema.problem_type,
        objective=objective,
        labels=data.schema.names,
        notes=data.notes,
        warnings=(
            *data.warnings,
            *truncation_warnings(encoded, encoder.max_length),
            *unknown_warnings(encoded),
        ),
        class_weights=dict(zip(data.schema.names, data.class_weights or (), strict=False)),
        metrics=tuple(name for name in data.metrics if METRICS[name].single),
        splits=distributions(truths, data.schema),
        baseline=baseline,
        lengths=measure(data.splits, encoder, encoded),
        examples=find_examples(data, encoder, encoded, truths["train"]),
        probe={"validation": beside({PROBE: probe}, "validation")[PROBE]} if probe else {},
    )


def _without_noise(targets: np.ndarray, schema: LabelSchema) -> np.ndarray:
    """Round off what standardising to 32 bits and back added: a target of 0 would be shown as -2.1e-07."""
    is_standardised = (schema.mean, schema.scale) != (0.0, 1.0)
    return targets.round(DIGITS - math.floor(math.log10(schema.scale))) if is_standardised else targets


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(child) for child in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
