"""Parts of a figure, as plotly.js reads them: points, axes, and what is said of a trial under the mouse."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from finesweep.commands.report.budget import Budget
from finesweep.commands.report.record import SweepRecord
from finesweep.commands.report.trial import TrialRecord
from finesweep.system.console import three_digits

# After Okabe and Ito, which colour-blind people can tell apart; darkened where they were below 3:1 on white.
# The page has a lighter one of each for a dark ground.
COLOURS = {
    "complete": "#0072B2",
    "pruned": "#B87700",
    "fail": "#D55E00",
    "running": "#00825F",
    "best": "#B4558F",
}
ON_DARK = {
    "#0072B2": "#56B4E9",
    "#B87700": "#E69F00",
    "#D55E00": "#F0803C",
    "#00825F": "#2CC295",
    "#B4558F": "#DE9CC4",
}
SYMBOLS = {"complete": "circle", "pruned": "circle-open", "fail": "triangle-up", "running": "square"}
DIGITS = 5


def is_log(axis: str, sweep: SweepRecord) -> bool:
    """Say whether a parameter was searched on a logarithmic scale."""
    return "log=True" in sweep.space.get(axis, "")


def is_list(axis: str, sweep: SweepRecord) -> bool:
    """Say whether a parameter was one of some values."""
    return sweep.space.get(axis, "").startswith("Categorical")


def dots_by_state(trials: Sequence[TrialRecord], x: Any, budget: Budget) -> list[dict[str, Any]]:
    """Return a trace of dots for each state, hollow ones for the pruned; `x` is a function of a trial."""
    traces = []
    for state in dict.fromkeys(trial.state for trial in trials):
        look = {"color": COLOURS.get(state), "symbol": SYMBOLS.get(state), "size": 9}
        look["line"] = {"width": 2, "color": COLOURS.get(state)}
        some = [trial for trial in trials if trial.state == state]
        traces.append(dots(state, some, x, budget.value, look, budget))
    return traces


def dots(
    name: str,
    trials: Sequence[TrialRecord],
    x: Any,
    y: Any,
    look: dict[str, Any],
    budget: Budget | None = None,
) -> dict[str, Any]:
    """Return a trace with a point for each trial; `x` and `y` are functions of it."""
    places = {"x": [x(trial) for trial in trials], "y": [brief(y(trial)) for trial in trials]}
    said = {"text": [hover(trial, budget) for trial in trials], "hoverinfo": "text"}
    return {"type": "scatter", "mode": "markers", "name": name, **places, **said, "marker": look}


def axis_of(name: str, trials: Sequence[TrialRecord], title: str, sweep: SweepRecord) -> dict[str, Any]:
    """Return the axis that a parameter's values stand on, scaled as it was searched.

    A list of numbers says nothing of its scale: where they spread far it is a logarithmic one.
    """
    values = [plain(trial.params[name]) for trial in trials]
    axis: dict[str, Any] = {"title": {"text": title}}
    if not all(is_number(value) for value in values):
        return {**axis, "type": "category"}
    is_wide = is_list(name, sweep) and min(values) > 0 and max(values) / min(values) >= 8
    return {**axis, **log_axis(values), "tickformat": "~g"} if is_wide or is_log(name, sweep) else axis


def dimension(axis: str, trials: Sequence[TrialRecord], sweep: SweepRecord) -> dict[str, Any]:
    """Return a parameter as one of the axes of parallel coordinates."""
    values = [plain(trial.params[axis]) for trial in trials]
    if not all(is_number(value) for value in values):
        names = sorted({str(value) for value in values})
        places = [names.index(str(value)) for value in values]
        return {"label": axis, "values": places, "tickvals": list(range(len(names))), "ticktext": names}
    if not is_log(axis, sweep) or min(values) <= 0:
        return {"label": axis, "values": values}
    logs = [brief(math.log10(value)) for value in values]
    low, high = min(logs), max(logs)
    ticks = [low + (high - low) * i / 4 for i in range(5)]
    return {
        "label": axis,
        "values": logs,
        "tickvals": ticks,
        "ticktext": [f"{10**tick:.2g}" for tick in ticks],
    }


def log_axis(values: Sequence[float]) -> dict[str, Any]:
    """Return a log axis with ticks at 1, 2 and 5 of each decade, or at decades alone where there are many."""
    return {"type": "log", "dtick": "D2" if max(values) / min(values) < 100 else 1}


def hover(trial: TrialRecord, budget: Budget | None = None) -> str:
    """Describe a trial; plotly reads a little HTML, so what comes from the user is escaped."""
    from html import escape

    rung = f" at evaluation {len(trial.curve)}" if trial.state == "pruned" else ""
    lines = [f"trial {trial.number}, {trial.state}{rung}"]
    if budget and budget.evaluation:
        lines.append(f"{budget.value(trial):.4f} at evaluation {budget.evaluation}")
    lines += [f"{value:.4f}{' in the end' * (budget is not None)}" for value in trial.values]
    lines += [f"{escape(name)} = {escape(three_digits(value))}" for name, value in trial.params.items()]
    return "<br>".join(lines)


def plain(value: Any) -> Any:
    """Return a parameter's value as a number, or as a text where it is none."""
    return value if is_number(value) else str(value)


def is_number(value: Any) -> bool:
    """Say whether a value is one; a bool isn't."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def brief(value: float) -> float:
    """Return a number with as many digits as a figure needs."""
    return float(f"{value:.{DIGITS}g}")
