"""An evaluation as one HTML file that needs nothing else."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from finesweep.commands.evaluate.text import confidence_sentences, counted, metric_rows
from finesweep.system.templates import template
from finesweep.system.terminal import shortened

if TYPE_CHECKING:
    from finesweep.commands.evaluate.result import Assessment

SHOWN_CHARACTERS = 600
# A picture's square, in the units of its viewBox.
SIDE = 240


def render(found: Assessment) -> str:
    """Return the page; whatever comes from the data is escaped."""
    filters = {"shortened": shortened}
    metrics = metric_rows(found, with_labels=True)
    curve = [
        (round(SIDE * bin.confidence, 1), round(SIDE * (1 - bin.accuracy), 1), bin)
        for bin in found.calibration
    ]
    ticks, dots = _scatter(found.points)
    return template("finesweep.commands.evaluate", "page.html", filters).render(
        found=found,
        rows=metrics[1:] if found.beside else metrics,
        counted=counted(found),
        curve=curve,
        ticks=ticks,
        dots=dots,
        confidence=confidence_sentences(found),
        commands=_commands(found),
        side=SIDE,
        characters=SHOWN_CHARACTERS,
    )


def _commands(found: Assessment) -> dict[str, str]:
    """Return what one may want to do next, and its command."""
    run = shlex.quote(found.run)
    top = f" --top {len(found.trials)}" if found.trials else ""
    return {
        "label new rows": f"finesweep predict {run}{top} new.csv -o predicted.csv",
        "evaluate it on rows of another day": f"finesweep evaluate {run}{top} labelled.csv",
        **({} if found.trials else {"hand it on": f"finesweep export {run}"}),
    }


def _scatter(
    points: Sequence[tuple[float, float]],
) -> tuple[list[tuple[float, str]], list[tuple[float, float]]]:
    """Return the ticks of both axes, and where each point is; truth goes across, prediction up."""
    if not points:
        return [], []
    low, high = min(map(min, points)), max(map(max, points))
    span = high - low or 1.0
    digits = 6 - math.floor(math.log10(span))  # beyond them is what 32 bits have added
    ticks = [(SIDE * share, f"{round(low + share * span, digits) + 0.0:.3g}") for share in (0, 0.5, 1)]
    places = [
        (round(SIDE * (truth - low) / span, 1), round(SIDE * (high - predicted) / span, 1))
        for truth, predicted in points
    ]
    return ticks, places
