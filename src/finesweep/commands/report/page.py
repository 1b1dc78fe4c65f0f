"""A sweep's report as one HTML file that needs nothing else, plotly.js included."""

from __future__ import annotations

import base64
import gzip
import importlib.util
import json
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from finesweep.commands.report.alternatives import alternative
from finesweep.commands.report.figures import Figure, figures, slices
from finesweep.commands.report.pictures import figure_of
from finesweep.commands.report.record import SweepRecord
from finesweep.commands.report.traces import ON_DARK
from finesweep.commands.report.words import STATES, Words, interval, number
from finesweep.system.templates import template

SHOWN_ROWS = 50  # of the leaderboard, until all are asked for


def render(sweep: SweepRecord, words: Words, pictures: Sequence[Path] = ()) -> str:
    """Return the page; whatever comes from the sweep is escaped.

    Args:
        sweep: the sweep.
        words: what is said of it.
        pictures: of its figures, which are shown where there is no script.
    """
    drawn, left_out = figures(sweep)
    small = slices(sweep)
    return template("finesweep.commands.report", "page.html").render(
        sweep=sweep,
        words=words,
        number=number,
        interval=interval,
        figures=drawn,
        left_out=left_out,
        slices=small,
        pictures={figure_of(file): base64.b64encode(file.read_bytes()).decode() for file in pictures},
        alternatives={figure.id: alternative(figure, sweep) for figure in [*drawn, *small]},
        shown_rows=SHOWN_ROWS,
        states=list(sweep.counts),
        state_names=STATES,
        on_dark=json.dumps(ON_DARK),
        drawings=_as_script([*drawn, *small]),
        plotly=_packed_plotly() if drawn else "",
        made=datetime.now().strftime("%Y-%m-%d %H:%M"),
    )


def _as_script(drawn: list[Figure]) -> str:
    """Return the figures as JSON that can stand in a script element: no `<` is left to end it."""
    content: dict[str, Any] = {figure.id: {"data": figure.data, "layout": figure.layout} for figure in drawn}
    return json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")


@cache
def _packed_plotly() -> str:
    """Return plotly.js compressed, in letters: 5 MB become 2; the page's browser unpacks it."""
    found = importlib.util.find_spec("plotly")
    assert found is not None
    assert found.origin is not None
    file = Path(found.origin).with_name("package_data") / "plotly.min.js"
    return base64.b64encode(gzip.compress(file.read_bytes(), 6, mtime=0)).decode()
