"""A sweep on the screen: a live table on a terminal, a line for each trial elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from typing import TYPE_CHECKING, Any

from finesweep.errors import MachineFault
from finesweep.sweeps.attributes import ERROR
from finesweep.sweeps.counting import FINISHED, num_ended, searched
from finesweep.sweeps.plan import Plan
from finesweep.sweeps.results import origin, ranked
from finesweep.sweeps.study import Study
from finesweep.system.console import make_console, three_digits
from finesweep.system.live import lines_above

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial
    from rich.console import Console

SHOWN_ROWS = 12
A_MINUTE = 60.0


class Display:
    """Follow a study.

    Args:
        plan: the sweep.
        study: the study.
        console: where it is shown; left out, standard output.
        clock: by which time is estimated.
    """

    def __init__(
        self,
        plan: Plan,
        study: Study,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan, self._study = plan, study
        self._console = console or make_console()
        self._clock, self._start = clock, clock()
        self._done_before = {t.number for t in study.trials(*FINISHED)}
        self._said = set(self._done_before)
        # Of each running trial: how much of it was evaluated, and how long after the start that was seen.
        self._evaluated: dict[int, tuple[float, float]] = {}
        self._live: Any = None
        self._shown = ExitStack()

    def __enter__(self) -> Display:
        axes = ", ".join(f"{key} in {_axis_text(axis)}" for key, axis in self._plan.space.axes.items())
        jobs = self._plan.settings.n_jobs
        where = f"{jobs} worker{'s' if jobs != 1 else ''}" if jobs else "this process"
        if (slots := self._plan.slots) > 1:
            where += f", {slots} at a time in each" if jobs > 1 else f", {slots} at a time"
        self._console.print(f"search     {self._plan.num_trials} trials with {where}: {axes}", markup=False)
        if self._console.is_terminal:
            from rich.live import Live

            self._live = Live(self._drawn(), console=self._console, refresh_per_second=2)
            self._shown.enter_context(lines_above(self._live))
        return self

    def __exit__(self, _kind: object, error: object, _traceback: object) -> None:
        if not isinstance(error, MachineFault):
            with suppress(MachineFault) if error else nullcontext():  # what has ended it is to be said
                self.update()
        self._shown.close()

    def update(self) -> None:
        """Show what has changed."""
        if self._live:
            self._live.update(self._drawn())
            return
        for trial in self._study.trials(*FINISHED):
            if trial.number not in self._said:
                self._said.add(trial.number)
                self._console.print(line_of(trial), markup=False)

    def say(self, text: str) -> None:
        """Print a line of its own."""
        self._console.print(text, markup=False, soft_wrap=True)

    def _drawn(self) -> Any:
        """Return the heading, as wide as the terminal, and the table below it, as wide as it needs."""
        from rich.console import Group
        from rich.text import Text

        trials = self._study.trials()
        best = next(iter(ranked(self._study)), None)
        running = [trial for trial in trials if trial.state.name == "RUNNING"]
        heading = Text(self._heading(trials, best, running), style="italic")
        return Group(heading, self._table(trials, best, running))

    def _table(
        self, trials: Sequence[FrozenTrial], best: FrozenTrial | None, running: Sequence[FrozenTrial]
    ) -> Any:
        from rich.table import Table

        table = Table(box=None, expand=False)
        for column in ("trial", "state", "value", "parameters", "progress"):
            table.add_column(column, overflow="fold")
        ended = [trial for trial in trials if trial.state.name in FINISHED]
        styles = {"RUNNING": "bold", "FAIL": "red", "PRUNED": "dim"}
        for trial in [*ended[-(SHOWN_ROWS - len(running)) :], *running]:
            star = " *" if best and trial.number == best.number else ""
            cells = (
                f"{trial.number}{star}",
                trial.state.name.lower(),
                _values_text(trial),
                params_text(trial.params) + _origin(trial),
            )
            table.add_row(*cells, _progress_text(trial), style=styles.get(trial.state.name, ""))
        return table

    def _heading(
        self, trials: Sequence[FrozenTrial], best: FrozenTrial | None, running: Sequence[FrozenTrial]
    ) -> str:
        search, counts = searched(trials), Counter(trial.state.name for trial in trials)
        done, further = num_ended(search), len(trials) - len(search)
        parts = [f"{done} of {self._plan.num_trials} trials"]
        parts += [f"{further} of finalists"] if further else []
        names = (("complete", "COMPLETE"), ("pruned", "PRUNED"), ("failed", "FAIL"))
        parts += [f"{counts[state]} {name}" for name, state in names if counts.get(state)]
        if best:
            parts.append(f"best {_values_text(best)} (trial {best.number})")
        left = self._time_left(done, running)
        if left is not None:
            parts.append(f"about {left / 60:.0f} min left" if left >= A_MINUTE else "under a minute left")
        return "  ".join(parts)

    def _time_left(self, done: int, running: Sequence[FrozenTrial]) -> float | None:
        """Estimate the seconds until the last trial ends: by those that have, before by what runs."""
        if done >= self._plan.num_trials:
            return None
        new, now = done - len(self._done_before), self._clock()
        if new:
            return (now - self._start) / new * (self._plan.num_trials - done)
        for trial in running:
            if (share := _share(trial)) != self._evaluated.get(trial.number, (0.0, 0.0))[0]:
                self._evaluated[trial.number] = (share, now - self._start)
        known = [self._evaluated[trial.number] for trial in running if trial.number in self._evaluated]
        if not known:
            return None
        whole = sum(seconds / share for share, seconds in known) / len(known)
        left = self._plan.num_trials - done - sum(_share(trial) for trial in running)
        return whole * left / len(running)


def line_of(trial: FrozenTrial) -> str:
    """Return "trial   3  complete 0.9061    peft.r=8, 12 s": how a trial has ended."""
    seconds = trial.user_attrs.get("duration_s")
    took = f", {seconds:.0f} s" if seconds is not None else ""
    head = f"trial {trial.number:>3}  {trial.state.name.lower():<9}{_values_text(trial):<9}"
    reason = f"  {trial.user_attrs[ERROR]}" if ERROR in trial.user_attrs else ""
    return f"{head} {params_text(trial.params)}{took}{_origin(trial)}{reason}"


def params_text(params: Mapping[str, Any]) -> str:
    """Return "peft.r=8 trainer.learning_rate=0.0013": the parameters, floats to three digits."""
    return " ".join(f"{key}={three_digits(value)}" for key, value in params.items())


def _origin(trial: FrozenTrial) -> str:
    """Return in brackets where a trial's point comes from."""
    return f" ({found})" if (found := origin(trial)) else ""


def _values_text(trial: FrozenTrial) -> str:
    if trial.values:
        return " / ".join(
            f"{value:.4f}" if isinstance(value, float) else str(value) for value in trial.values
        )
    reports = trial.intermediate_values
    return f"{reports[max(reports)]:.4f}" if reports else ""


def _share(trial: FrozenTrial) -> float:
    """Return how much of a running trial has been evaluated, from 0 to 1."""
    steps, total = trial.user_attrs.get("evaluated_steps"), trial.user_attrs.get("num_steps")
    return steps[-1] / total if steps and total else 0.0


def _progress_text(trial: FrozenTrial) -> str:
    if trial.state.name == "RUNNING" and trial.user_attrs.get("num_steps"):
        return f"{100 * _share(trial):.0f}% evaluated"
    seconds = trial.user_attrs.get("duration_s")
    return f"{seconds:.0f} s" if seconds is not None else ""


def _axis_text(axis: Any) -> str:
    if hasattr(axis, "choices"):
        return "{" + ", ".join(map(str, axis.choices)) + "}"
    return f"[{axis.low:g}, {axis.high:g}]{' (log)' if axis.log else ''}"
