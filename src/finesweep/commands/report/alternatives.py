"""What is seen in a figure, in a sentence, for who doesn't see it."""

from __future__ import annotations

from finesweep.commands.report.figures import Figure, varied
from finesweep.commands.report.record import SweepRecord
from finesweep.commands.report.traces import is_number
from finesweep.commands.report.trial import TrialRecord
from finesweep.system.console import three_digits

BEST_PART = 4  # a quarter of the trials


def alternative(figure: Figure, sweep: SweepRecord) -> str:
    """Return a figure's alternative text: its title, and what it shows of this sweep."""
    return f"{figure.title}. {_seen(figure.id, figure.title, sweep)}".strip()


def _seen(name: str, title: str, sweep: SweepRecord) -> str:
    budget = sweep.budget
    best = _best(sweep)[:1]
    if name == "importances":
        return ", ".join(f"{axis} {share:.2f}" for axis, share in sweep.importances.items()) + "."
    if name == "curves" and sweep.best and sweep.best.curve:
        evaluated = sum(bool(trial.curve) for trial in sweep.trials)
        return f"{evaluated} trials; the best, {sweep.best.number}, ends at {sweep.best.curve[-1][1]:.4f}."
    if name == "timeline":
        workers = {trial.worker for trial in sweep.trials if trial.start is not None}
        return f"{len(workers)} workers, {len(sweep.trials)} trials."
    if name == "front":
        return f"{len(sweep.front)} of {len(sweep.order)} complete trials are on the front."
    if name in ("history", "size") and best:
        reached = f"the best, {best[0].number}, has {budget.value(best[0]):.4f}"
        return f"{len(budget.trials)} trials {budget}; {reached}."
    axes = [title] if name.startswith("slice-") else varied(sweep)
    return " ".join(f"{_where(axis, sweep)}." for axis in (axes[:2] if name == "contour" else axes))


def _best(sweep: SweepRecord) -> list[TrialRecord]:
    """Return the trials on one budget, the best first."""
    return sorted(sweep.budget.trials, key=sweep.budget.value, reverse=sweep.maximizes)


def _where(axis: str, sweep: SweepRecord) -> str:
    """Say which values of a parameter the best trials have."""
    having = [trial for trial in _best(sweep) if axis in trial.params]
    values = [trial.params[axis] for trial in having[: max(1, len(having) // BEST_PART)]]
    if not values:
        return f"No trial has {axis}"
    if all(map(is_number, values)):
        reach = f"{three_digits(min(values))} to {three_digits(max(values))}"
    else:
        reach = ", ".join(sorted(set(map(str, values))))
    return f"The best quarter has {axis} {reach}"
