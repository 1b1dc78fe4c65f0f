"""A sweep's figures, as plotly.js reads them: plain dicts, so that nothing heavy is imported to make them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from finesweep.commands.report.budget import Budget
from finesweep.commands.report.record import SweepRecord
from finesweep.commands.report.surface import cells, means_in_cells
from finesweep.commands.report.traces import (
    COLOURS,
    SYMBOLS,
    axis_of,
    brief,
    dimension,
    dots,
    dots_by_state,
    hover,
    is_log,
    is_number,
    log_axis,
    plain,
)

# Of lines, from the worst trial to the best: none of it fades into a light or a dark ground.
SCALE = [[0, "#7D8894"], [0.5, "#3E8FC4"], [1, "#D0408F"]]
POINTS_IN_CURVES = 20_000


@dataclass(frozen=True)
class Figure:
    """One figure.

    Args:
        id: its name in the page.
        title: what it shows.
        note: how to read it.
        data: plotly.js traces.
        layout: plotly.js layout.
    """

    id: str
    title: str
    note: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]


def figures(sweep: SweepRecord) -> tuple[list[Figure], list[str]]:
    """Return the figures that can be drawn, and why each of the others can't."""
    drawn: list[Figure] = []
    left_out: list[str] = []
    for make in (_front, _history, _curves, _importances, _parallel, _contour, _size, _timeline):
        made = make(sweep)
        if isinstance(made, Figure):
            drawn.append(made)
        elif made:
            left_out.append(made)
    return drawn, left_out


def slices(sweep: SweepRecord) -> list[Figure]:
    """Return one small figure for each parameter: its values against the objective."""
    budget, made = sweep.budget, []
    for place, axis in enumerate(varied(sweep)):
        having = [trial for trial in budget.trials if axis in trial.params]
        traces = dots_by_state(having, lambda trial, axis=axis: plain(trial.params[axis]), budget)
        layout = {
            "xaxis": axis_of(axis, having, axis, sweep),
            "yaxis": {"title": {"text": sweep.objectives[0]}},
        }
        made.append(Figure(f"slice-{place}", axis, "", traces, {**layout, "showlegend": False}))
    return made


def varied(sweep: SweepRecord) -> list[str]:
    """Return the parameters that took more than one value, the most important first."""
    names = [
        axis
        for axis in sweep.axes
        if len({repr(trial.params[axis]) for trial in sweep.trials if axis in trial.params}) > 1
    ]
    return sorted(names, key=lambda axis: -sweep.importances.get(axis, 0))


def best_so_far(sweep: SweepRecord) -> list[tuple[int, float]]:
    """Return the best value up to each of the trials on one budget, and up to the last trial of all."""
    budget = sweep.budget
    better = max if sweep.maximizes else min
    values = accumulate(map(budget.value, budget.trials), better)
    steps = [(trial.number, value) for trial, value in zip(budget.trials, values, strict=True)]
    return [*steps, (sweep.trials[-1].number, steps[-1][1])] if steps else []


def _history(sweep: SweepRecord) -> Figure | str:
    budget = sweep.budget
    if not budget.trials:
        return "Optimisation history: no trial has a value."
    traces = dots_by_state(budget.trials, lambda trial: trial.number, budget)
    steps = best_so_far(sweep)
    if steps:
        traces.append({
            "type": "scatter", "mode": "lines", "name": "best so far", "x": [number for number, _ in steps],
            "y": [brief(value) for _, value in steps], "line": {"shape": "hv", "color": COLOURS["best"]},
        })  # fmt: skip
    layout = {"xaxis": {"title": {"text": "trial"}}, "yaxis": {"title": {"text": sweep.objectives[0]}}}
    note = f"All trials {budget}.{_hollow(budget)}"
    return Figure("history", "Optimisation history", note, traces, layout)


def _curves(sweep: SweepRecord) -> Figure | str:
    having = [
        trial for trial in sweep.trials if len(trial.curve) > 1 or (trial.curve and trial.state == "pruned")
    ]
    if not having or len(sweep.directions) > 1:
        return "" if len(sweep.directions) > 1 else "Learning curves: no trial was evaluated more than once."
    stride = max(1, sum(len(trial.curve) for trial in having) // POINTS_IN_CURVES)
    best = sweep.best.number if sweep.best else None
    traces, named = [], set()
    for trial in sorted(having, key=lambda trial: trial.number == best):
        kind = "best" if trial.number == best else trial.state
        points = [*trial.curve[:-1][::stride], trial.curve[-1]]
        sizes = [0] * (len(points) - 1) + [9 if kind == "pruned" else 0]
        traces.append({
            "type": "scatter", "mode": "lines+markers", "name": kind, "legendgroup": kind,
            "showlegend": kind not in named, "x": [step for step, _ in points],
            "y": [brief(value) for _, value in points], "text": hover(trial), "hoverinfo": "text+x+y",
            "opacity": 1 if kind == "best" else 0.6,
            "line": {"color": COLOURS.get(kind), "width": 3 if kind == "best" else 1.5},
            "marker": {"symbol": "circle-open", "size": sizes, "color": COLOURS.get(kind)},
        })  # fmt: skip
        named.add(kind)
    layout = {
        "xaxis": {"title": {"text": "optimizer step"}},
        "yaxis": {"title": {"text": sweep.objectives[0]}},
    }
    return Figure("curves", "Learning curves", "A hollow circle is where a trial was pruned.", traces, layout)


def _importances(sweep: SweepRecord) -> Figure | str:
    if not sweep.importances:
        return f"Parameter importances: {sweep.why_no_importances}"
    names = list(sweep.importances)[::-1]
    shares = [brief(sweep.importances[name]) for name in names]
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": shares,
        "y": names,
        "marker": {"color": COLOURS["complete"]},
    }
    budget = sweep.budget
    doubt = " So few say little." if len(budget.trials) < 10 else ""
    note = f"Share of the variation that each explains (fANOVA), {len(budget.trials)} trials {budget}.{doubt}"
    layout = {"xaxis": {"range": [0, 1]}, "yaxis": {"automargin": True}, "height": 120 + 40 * len(names)}
    return Figure("importances", "Parameter importances", note, [trace], layout)


def _parallel(sweep: SweepRecord) -> Figure | str:
    axes, budget = varied(sweep), sweep.budget
    scored = [trial for trial in budget.trials if all(axis in trial.params for axis in axes)]
    if len(scored) < 2 or not axes:
        return "Parallel coordinates: fewer than two trials with the same parameters."
    values = [brief(budget.value(trial)) for trial in scored]
    dimensions = [dimension(axis, scored, sweep) for axis in axes]
    dimensions.append({"label": sweep.objectives[0], "values": values})
    line = {"color": values, "colorscale": SCALE, "showscale": True, "reversescale": not sweep.maximizes}
    trace = {"type": "parcoords", "line": line, "dimensions": dimensions, "labelangle": -12}
    # What the first axis says stands left of it.
    longest = max(map(len, dimensions[0].get("ticktext", [""])))
    layout = {"margin": {"t": 70, "l": min(max(70, 7 * longest), 160), "r": 40, "b": 30}}
    note = f"One line for each trial, all {budget}. Drag along an axis to choose a part of them."
    return Figure("parallel", "Parallel coordinates", note, [trace], layout)


def _contour(sweep: SweepRecord) -> Figure | str:
    budget = sweep.budget
    numeric = [
        axis
        for axis in varied(sweep)
        if all(is_number(plain(trial.params.get(axis, 0))) for trial in budget.trials)
    ]
    if len(numeric) < 2:
        return "Contour: fewer than two parameters are numbers."
    across, up = numeric[:2]
    having = [trial for trial in budget.trials if across in trial.params and up in trial.params]
    if len(having) < 4:
        return "Contour: fewer than four trials have a value."
    columns, at_column = cells([plain(trial.params[across]) for trial in having], log=is_log(across, sweep))
    rows, at_row = cells([plain(trial.params[up]) for trial in having], log=is_log(up, sweep))
    grid = means_in_cells(at_row, at_column, list(map(budget.value, having)), (len(rows), len(columns)))
    surface = {
        "type": "contour", "x": columns, "y": rows, "z": grid, "connectgaps": True, "colorscale": "Viridis",
        "reversescale": not sweep.maximizes, "contours": {"coloring": "heatmap"}, "line": {"width": 0},
        "hoverinfo": "skip", "colorbar": {"title": {"text": sweep.objectives[0]}},
    }  # fmt: skip
    points = {
        "type": "scatter", "mode": "markers", "x": [plain(trial.params[across]) for trial in having],
        "y": [plain(trial.params[up]) for trial in having],
        "text": [hover(trial, budget) for trial in having],
        "hoverinfo": "text", "showlegend": False,
        "marker": {
            "color": "#fff", "size": 8, "line": {"color": "#000", "width": 1},
            "symbol": [SYMBOLS.get(trial.state) for trial in having],
        },
    }  # fmt: skip
    layout = {"xaxis": axis_of(across, having, across, sweep), "yaxis": axis_of(up, having, up, sweep)}
    note = f"All trials {budget}. Between them, the dots, the surface is a guess."
    return Figure("contour", f"Contour of {across} and {up}", note, [surface, points], layout)


def _size(sweep: SweepRecord) -> Figure | str:
    budget = sweep.budget
    having = [trial for trial in budget.trials if trial.trainable]
    if len({trial.trainable for trial in having}) < 2:
        return "Objective against trained parameters: all trials train the same number."
    traces = dots_by_state(having, lambda trial: trial.trainable, budget)
    layout = {
        "xaxis": {
            "title": {"text": "trained parameters"},
            **log_axis([trial.trainable for trial in having if trial.trainable]),
            "tickformat": "~s",
        },
        "yaxis": {"title": {"text": sweep.objectives[0]}},
    }
    return Figure("size", "What size buys", f"All trials {budget}.{_hollow(budget)}", traces, layout)


def _timeline(sweep: SweepRecord) -> Figure | str:
    started = [trial for trial in sweep.trials if trial.start is not None and trial.state != "waiting"]
    workers = list(dict.fromkeys(trial.worker for trial in started))
    if not started:
        return "Timeline: no trial has started."
    names = {worker: f"worker {place}" for place, worker in enumerate(workers)}
    traces = []
    for state in dict.fromkeys(trial.state for trial in started):
        some = [trial for trial in started if trial.state == state]
        traces.append({
            "type": "bar", "orientation": "h", "name": state,
            "base": [brief(trial.start or 0) for trial in some],
            "x": [brief(trial.seconds) for trial in some], "y": [names[trial.worker] for trial in some],
            "text": [str(trial.number) for trial in some], "insidetextanchor": "middle",
            "hovertext": [hover(trial) for trial in some],
            "hoverinfo": "text", "marker": {"color": COLOURS.get(state), "line": {"width": 1}},
        })  # fmt: skip
    layout = {
        "barmode": "overlay", "xaxis": {"title": {"text": "seconds"}},
        "yaxis": {"automargin": True, "autorange": "reversed"},
        "height": 160 + 44 * len(workers),
    }  # fmt: skip
    return Figure("timeline", "Timeline of the workers", "The numbers are the trials'.", traces, layout)


def _front(sweep: SweepRecord) -> Figure | str:
    if len(sweep.directions) < 2:
        return ""
    having = [trial for trial in sweep.trials if len(trial.values) > 1]
    if not having:
        return "Pareto front: no trial is complete."
    groups = {
        "Pareto front": [trial for trial in having if trial.number in sweep.front],
        "others": [trial for trial in having if trial.number not in sweep.front],
    }
    looks = ({"color": COLOURS["best"], "size": 9}, {"color": COLOURS["complete"], "size": 9})
    traces = [
        dots(name, some, lambda trial: trial.values[0], lambda trial: trial.values[1], look)
        for (name, some), look in zip(groups.items(), looks, strict=True)
    ]
    titles = [{"title": {"text": name}} for name in sweep.objectives[:2]]
    note = "No other trial is better than one of these in both."
    return Figure("front", "Pareto front", note, traces, {"xaxis": titles[0], "yaxis": titles[1]})


def _hollow(budget: Budget) -> str:
    return " Hollow ones were pruned." if budget.evaluation else ""
