"""A sweep's figures as PNG files, for papers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from finesweep.commands.report.budget import Budget
from finesweep.commands.report.figures import best_so_far, varied
from finesweep.commands.report.record import SweepRecord
from finesweep.commands.report.traces import COLOURS, is_log
from finesweep.commands.report.trial import TrialRecord

SIZE_INCHES = (6.0, 3.6)
DOTS_PER_INCH = 200
LONGEST_NAME = 60
MARKERS = {"complete": "o", "pruned": "o", "fail": "^", "running": "s"}


def draw(sweep: SweepRecord, folder: Path) -> list[Path]:
    """Draw what can be drawn into a folder; return the files."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    folder.mkdir(exist_ok=True)
    made = []
    for name, paint in _paintings(sweep).items():
        figure, axes = pyplot.subplots(figsize=SIZE_INCHES, layout="constrained")
        paint(sweep, axes)
        axes.spines[["top", "right"]].set_visible(False)
        made.append(folder / f"{name}.png")
        figure.savefig(made[-1], dpi=DOTS_PER_INCH)
        pyplot.close(figure)
    return made


def figure_of(picture: Path) -> str:
    """Return the id of the page's figure that a picture shows, too."""
    return "front" if picture.stem == "pareto" else re.sub(r"^(slice-\d+)-.*", r"\1", picture.stem)


def _paintings(sweep: SweepRecord) -> dict[str, Callable[[SweepRecord, Any], None]]:
    found: dict[str, Callable[[SweepRecord, Any], None]] = {}
    if len(sweep.directions) > 1:
        return {"pareto": _pareto} if sweep.front else {}
    if sweep.budget.trials:
        found["history"] = _history
    if any(len(trial.curve) > 1 for trial in sweep.trials):
        found["curves"] = _curves
    if sweep.importances:
        found["importances"] = _importances
    for place, axis in enumerate(varied(sweep)):
        found[f"slice-{place}-{_file_name(axis)}"] = lambda sweep, axes, axis=axis: _slice(sweep, axes, axis)
    return found


def _history(sweep: SweepRecord, axes: Any) -> None:
    _scatter(axes, sweep.budget, sweep.budget.trials, lambda trial: trial.number)
    steps = best_so_far(sweep)
    if steps:
        axes.step(*zip(*steps, strict=True), where="post", color=COLOURS["best"], label="best so far")
    axes.set(xlabel="trial", ylabel=_value_label(sweep))
    axes.legend(frameon=False)


def _curves(sweep: SweepRecord, axes: Any) -> None:
    named: set[str] = set()
    best = sweep.best.number if sweep.best else None
    for trial in sorted(sweep.trials, key=lambda trial: trial.number == best):
        if not trial.curve:
            continue
        kind = "best" if trial.number == best else trial.state
        steps, values = zip(*trial.curve, strict=True)
        label = kind if kind not in named else None
        width = 2.2 if kind == "best" else 0.9
        axes.plot(steps, values, color=COLOURS.get(kind, "#888"), linewidth=width, label=label)
        if kind == "pruned":
            axes.plot(steps[-1], values[-1], marker="o", color=COLOURS["pruned"], markerfacecolor="none")
        named.add(kind)
    axes.set(xlabel="optimizer step", ylabel=_literal(sweep.objectives[0]))
    axes.legend(frameon=False)


def _importances(sweep: SweepRecord, axes: Any) -> None:
    names = list(sweep.importances)[::-1]
    axes.barh(
        [_literal(name) for name in names],
        [sweep.importances[name] for name in names],
        color=COLOURS["complete"],
    )
    axes.set(xlabel="importance (fANOVA)", xlim=(0, 1))


def _slice(sweep: SweepRecord, axes: Any, axis: str) -> None:
    budget = sweep.budget
    having = [trial for trial in budget.trials if axis in trial.params]
    numeric = all(isinstance(trial.params[axis], int | float) for trial in having)

    def place(trial: TrialRecord) -> Any:
        return trial.params[axis] if numeric else _literal(str(trial.params[axis]))

    _scatter(axes, budget, having, place)
    axes.set(xlabel=_literal(axis), ylabel=_value_label(sweep))
    if is_log(axis, sweep):
        axes.set_xscale("log")
    axes.legend(frameon=False)


def _pareto(sweep: SweepRecord, axes: Any) -> None:
    having = [trial for trial in sweep.trials if len(trial.values) > 1]
    for label, colour, chosen in (("others", "complete", False), ("Pareto front", "best", True)):
        some = [trial.values for trial in having if (trial.number in sweep.front) is chosen]
        axes.scatter([v[0] for v in some], [v[1] for v in some], color=COLOURS[colour], label=label)
    axes.set(xlabel=_literal(sweep.objectives[0]), ylabel=_literal(sweep.objectives[1]))
    axes.legend(frameon=False)


def _value_label(sweep: SweepRecord) -> str:
    """Name the objective, and at which evaluation it is looked at."""
    at = f" at evaluation {sweep.budget.evaluation}" if sweep.budget.evaluation else ""
    return _literal(sweep.objectives[0]) + at


def _scatter(
    axes: Any, budget: Budget, trials: Sequence[TrialRecord], x: Callable[[TrialRecord], Any]
) -> None:
    for state in dict.fromkeys(trial.state for trial in trials):
        some = [trial for trial in trials if trial.state == state]
        places, values = [x(trial) for trial in some], [budget.value(trial) for trial in some]
        colour = COLOURS.get(state, "#666")
        face = "none" if state == "pruned" else colour
        look = {"edgecolors": colour, "facecolors": face, "marker": MARKERS.get(state, "o"), "s": 24}
        axes.scatter(places, values, label=state, **look)


def _literal(text: str) -> str:
    """Keep matplotlib from reading dollars as mathematics."""
    return text.replace("$", r"\$")


def _file_name(axis: str) -> str:
    safe = (letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "-" for letter in axis)
    return "".join(safe)[:LONGEST_NAME]
