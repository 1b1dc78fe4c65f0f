"""An evaluation for a terminal or a log."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from finesweep.data.labels import TOKENS
from finesweep.system.tables import aligned
from finesweep.system.terminal import shortened

if TYPE_CHECKING:
    from finesweep.commands.evaluate.figures import HardRow
    from finesweep.commands.evaluate.result import Assessment
    from finesweep.metrics.intervals import Interval

SHOWN_HARDEST = 5
SHOWN_LABELS = 20
SHOWN_CHARACTERS = 76
NEAR_ONE = 1.1  # a temperature that is further from 1 than this is worth a word
HALF = 0.5
# Beyond so many labels a matrix is for the page.
MOST_COLUMNS = 8


def lines_of(found: Assessment) -> list[str]:
    """Return the lines to print."""
    lines = [f"{found.run} on {found.on}: {found.rows:,} rows", f"{found.headline}.", *found.notes, ""]
    lines += aligned(metric_rows(found), right=range(2, 4))
    if found.per_label:
        head = ("label", "precision", "recall", "f1", counted(found))
        shown = found.per_label[:SHOWN_LABELS]
        figures = [
            (f"{part.precision:.3f}", f"{part.recall:.3f}", f"{part.f1:.3f}", f"{part.rows:,}")
            for part in shown
        ]
        lines += [
            "",
            *_table([head, *((part.label, *row) for part, row in zip(shown, figures, strict=True))]),
        ]
    if found.confusion and len(found.labels) <= MOST_COLUMNS:
        head = ("true \\ predicted", *found.labels)
        rows = [(name, *map(str, row)) for name, row in zip(found.labels, found.confusion, strict=True)]
        lines += ["", *_table([head, *rows])]
    if sentences := confidence_sentences(found):
        lines += ["", *sentences]
    if found.hardest:
        lines += ["", "Furthest off:"]
    for example in found.hardest[:SHOWN_HARDEST]:
        lines += [f"  {line}" for line in _verdict(example)]
        lines.append(f"    {shortened(example.text, SHOWN_CHARACTERS)}")
    return lines


def confidence_sentences(found: Assessment) -> list[str]:
    """Say what the probabilities are worth."""
    known = found.confidence
    if known is None:
        return []
    said = [f"Calibration error {known.calibration_error:.3f}."]
    if known.temperature is not None:
        kind = "too sure" if known.temperature > 1 else "too unsure"
        near = abs(math.log(known.temperature)) < math.log(NEAR_ONE)
        said.append(
            f"Temperature {known.temperature:.2f}: the probabilities are "
            f"{'about as sure as they should be' if near else kind}."
        )
    half = next((part for part in known.coverage if part.share == HALF), None)
    if half is not None:
        said.append(f"Of the surer half of the rows {half.accuracy:.0%} are right.")
    return said


def metric_rows(found: Assessment, *, with_labels: bool = False) -> list[tuple[str, ...]]:
    """Return each metric with its interval, and beside it the baseline's and the probe's, under a heading.

    Args:
        found: the evaluation.
        with_labels: those of single labels too.
    """
    main = {name: interval for name, interval in found.metrics.items() if with_labels or "/" not in name}
    rows = [
        (name, interval_text(interval), *(_number(values.get(name)) for values in found.beside.values()))
        for name, interval in main.items()
    ]
    return [("metric", "value (95% interval)", *found.beside), *rows] if found.beside else rows


def _number(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.4f}"


def _verdict(example: HardRow) -> list[str]:
    """Return what was said and what is true, on two lines where one is too short."""
    said, true = f"row {example.id} ({example.hardness:.2f}): said {example.predicted}", f"is {example.label}"
    if len(said) + len(true) + 2 <= SHOWN_CHARACTERS:
        return [f"{said}; {true}"]
    return [shortened(said, SHOWN_CHARACTERS), f"  {shortened(true, SHOWN_CHARACTERS)}"]


def counted(found: Assessment) -> str:
    """Return what a label's figures count."""
    return "spans" if found.task == TOKENS else "rows"


def interval_text(interval: Interval) -> str:
    """Return "0.9577 (0.9296 to 0.9812)"."""
    if math.isnan(interval.value):
        return "undefined"
    return f"{interval.value:.4f} ({interval.low:.4f} to {interval.high:.4f})"


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return rows with their columns aligned, the first to the left."""
    return aligned(rows, right=range(1, len(rows[0])))
