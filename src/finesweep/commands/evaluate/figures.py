"""What an evaluation says beyond its metrics: each label, confusions, calibration, the hardest rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finesweep.data.labels import MULTI, REGRESSION, SINGLE, TOKENS
from finesweep.data.spans import find_spans, span_types

if TYPE_CHECKING:
    from finesweep.commands.evaluate.rows import LabelledRows
    from finesweep.data.labels import LabelSchema
    from finesweep.metrics.scores import Scored

CALIBRATION_BINS = 10
HARDEST = 20
MOST_POINTS = 500
SMALLEST = 1e-12


@dataclass(frozen=True)
class LabelFigures:
    """One label's figures; for tokens those of a type of span.

    Args:
        label: its name.
        precision: share of the rows that are given it that have it.
        recall: share of the rows that have it that are given it.
        f1: their harmonic mean.
        rows: how many have it; for tokens how many spans there are.
        predicted: how many are given it; for tokens how many spans are found.
    """

    label: str
    precision: float
    recall: float
    f1: float
    rows: int
    predicted: int


@dataclass(frozen=True)
class CalibrationBin:
    """Predictions of like probability.

    Args:
        low: its least probability.
        high: its greatest.
        confidence: their mean probability.
        accuracy: share of them that are right.
        count: how many there are.
    """

    low: float
    high: float
    confidence: float
    accuracy: float
    count: int


@dataclass(frozen=True)
class HardRow:
    """A row that the run finds hard.

    Args:
        id: its number in the source.
        text: what it reads.
        label: the truth.
        predicted: what the run says.
        hardness: minus the log-probability of the truth, its mean over labels for several; the absolute
            error of a number; the share of wrong tags.
    """

    id: int
    text: str
    label: str
    predicted: str
    hardness: float


def per_label(scored: Scored, schema: LabelSchema) -> list[LabelFigures]:
    """Return each label's figures; of numbers there are none."""
    import numpy as np

    if schema.problem_type == TOKENS:
        return _per_type(scored, schema)
    if schema.problem_type == REGRESSION:
        return []
    ids = np.arange(len(schema.names))
    single = schema.problem_type == SINGLE
    truth = np.asarray(scored.truth)[:, None] == ids if single else np.asarray(scored.truth).astype(bool)
    given = (
        np.asarray(scored.predicted)[:, None] == ids if single else np.asarray(scored.predicted).astype(bool)
    )
    right, found, true = (truth & given).sum(0), given.sum(0), truth.sum(0)
    return [_figures(name, right[i], found[i], true[i]) for i, name in enumerate(schema.names)]


def _per_type(scored: Scored, schema: LabelSchema) -> list[LabelFigures]:
    """Return the figures of each type of span; one counts when its type and both ends are right."""
    found, true = (
        {(row, span) for row, tags in enumerate(rows) for span in find_spans(tags, schema.names)}
        for rows in (scored.predicted, scored.truth)
    )
    counts = [Counter(span.type for _, span in spans) for spans in (found & true, found, true)]
    return [
        _figures(name, *(count[name] for count in counts)) for name in span_types(schema.names, schema.names)
    ]


def _figures(name: str, right: int, found: int, true: int) -> LabelFigures:
    precision, recall, f1 = _share(right, found), _share(right, true), _share(2 * right, found + true)
    return LabelFigures(name, precision, recall, f1, int(true), int(found))


def points(scored: Scored, schema: LabelSchema) -> list[tuple[float, float]]:
    """Return truth and prediction of a regression's rows, of many rows evenly spaced ones."""
    import numpy as np

    if schema.problem_type != REGRESSION:
        return []
    pairs = np.stack([scored.truth, scored.predicted], axis=-1)
    chosen = np.unique(np.linspace(0, len(pairs) - 1, MOST_POINTS).astype(int))
    return [(truth, predicted) for truth, predicted in pairs[chosen].tolist()]


def confusion(scored: Scored, schema: LabelSchema) -> list[list[int]]:
    """Return how many rows of each label (outer) are given each label (inner); single labels only."""
    import numpy as np

    if schema.problem_type != SINGLE:
        return []
    counts = np.zeros((len(schema.names),) * 2, int)
    np.add.at(counts, (np.asarray(scored.truth), np.asarray(scored.predicted)), 1)
    return counts.tolist()


def calibration(scored: Scored, schema: LabelSchema) -> list[CalibrationBin]:
    """Return bins of the predicted label's probability, or of every label's where there may be several."""
    import numpy as np

    if scored.probabilities is None:
        return []
    if schema.problem_type == MULTI:
        confidence, right = scored.probabilities.ravel(), np.asarray(scored.truth).ravel().astype(bool)
    else:
        confidence = scored.probabilities.max(-1)
        right = np.asarray(scored.predicted) == np.asarray(scored.truth)
    places = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    bins = []
    for place in np.unique(places):
        inside = places == place
        mean, accuracy = float(confidence[inside].mean()), float(right[inside].mean())
        low, high = float(place / CALIBRATION_BINS), float((place + 1) / CALIBRATION_BINS)
        bins.append(CalibrationBin(low, high, mean, accuracy, int(inside.sum())))
    return bins


def hardest(scored: Scored, rows: LabelledRows, schema: LabelSchema) -> list[HardRow]:
    """Return the rows that the run is furthest off on, the furthest first."""
    import numpy as np

    hardness = _hardness(scored, schema)
    order = np.argsort(-hardness, kind="stable")[:HARDEST]
    return [
        HardRow(
            rows.ids[row],
            text_of(rows, row),
            _name(scored.truth[row], schema, rows, row),
            _name(scored.predicted[row], schema, rows, row),
            float(hardness[row]),
        )
        for row in order.tolist()
        if hardness[row] > 0
    ]


def _hardness(scored: Scored, schema: LabelSchema) -> Any:
    import numpy as np

    if schema.problem_type == REGRESSION:
        return np.abs(scored.predicted - scored.truth)
    if schema.problem_type == TOKENS:
        pairs = zip(scored.predicted, scored.truth, strict=True)
        wrong = [
            sum(a != b for a, b in zip(tags, truth, strict=True)) / max(len(truth), 1)
            for tags, truth in pairs
        ]
        return np.array(wrong)
    probabilities = np.clip(scored.probabilities, SMALLEST, 1 - SMALLEST)
    truth = np.asarray(scored.truth)
    if schema.problem_type == SINGLE:
        return -np.log(probabilities[np.arange(len(truth)), truth])
    return -(truth * np.log(probabilities) + (1 - truth) * np.log(1 - probabilities)).mean(-1)


def text_of(rows: LabelledRows, row: int) -> str:
    """Return what a row reads, both texts of a pair."""
    parts = [column[row] for column in rows.columns]
    return " | ".join(" ".join(part) if isinstance(part, list) else part for part in parts)


def _name(value: Any, schema: LabelSchema, rows: LabelledRows, row: int) -> str:
    """Return a label as people read it; of tags the spans with their words."""
    if schema.problem_type == SINGLE:
        return schema.names[value]
    if schema.problem_type == MULTI:
        return ", ".join(name for name, on in zip(schema.names, value, strict=True) if on) or "none"
    if schema.problem_type == REGRESSION:
        return f"{value:.4g}"
    found, words = find_spans(value, schema.names), rows.words(row)
    spans = [f"{' '.join(words[span.first : span.last + 1])} ({span.type})" for span in found]
    return ", ".join(spans) or "none"


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0
