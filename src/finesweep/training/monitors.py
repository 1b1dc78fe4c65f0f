"""Monitors that every run has: the metrics file, the guard against NaN, the progress display."""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from finesweep.errors import ConfigError, Fault, TrainingError
from finesweep.system.files import write_text
from finesweep.system.foreign import calling
from finesweep.system.live import lines_above
from finesweep.training.base import Decision, Monitor

logger = logging.getLogger(__name__)


class MetricsFile(Monitor):
    """Append every logged metric to metrics.jsonl, one JSON object a line.

    Lines reach the operating system at once and the disk at each evaluation; numbers are written
    so that reading them gives the same bits back. `time` is seconds since the file was opened, and
    the only field that two equal runs differ in.

    Args:
        path: the file.
        resume_step: the checkpoint that training goes on from; lines after it will come again.
    """

    def __init__(self, path: Path, resume_step: int = 0) -> None:
        if path.exists():
            write_text(path, "".join(f"{line}\n" for line in _lines_until(path, resume_step)))
        self._file: IO[str] = path.open("a", encoding="utf-8")
        self._start = time.monotonic()

    def on_log(self, step: int, metrics: dict[str, float]) -> None:
        """Write one line."""
        line = {"step": step, **metrics, "time": round(time.monotonic() - self._start, 3)}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def on_evaluate(self, step: int, metrics: dict[str, float]) -> Decision:
        """Write one line, and make sure that it is on the disk."""
        self.on_log(step, metrics)
        os.fsync(self._file.fileno())
        return Decision.CONTINUE

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _lines_until(path: Path, step: int) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                yield line
        except ValueError:  # the last line of a killed process may be torn
            return


class FiniteGuard(Monitor):
    """Stop a run whose loss is no longer a number.

    Raises:
        TrainingError: from the first log or evaluation with a NaN or infinite loss.
    """

    def on_log(self, step: int, metrics: dict[str, float]) -> None:
        """Look at the training loss."""
        self._check(step, metrics, "train/loss")

    def on_evaluate(self, step: int, metrics: dict[str, float]) -> Decision:
        """Look at the validation loss."""
        self._check(step, metrics, "validation/loss")
        return Decision.CONTINUE

    def _check(self, step: int, metrics: dict[str, float], name: str) -> None:
        value = metrics.get(name)
        if value is not None and not math.isfinite(value):
            rule = f"The loss is not finite at step {step}; what follows would be noise."
            fix = (
                "Likely causes: trainer.learning_rate too high (try a tenth), half precision that overflows "
                "(trainer.fp16), or trainer.max_grad_norm switched off."
            )
            raise TrainingError(Fault(name, rule, value, fix=fix))


class Progress(Monitor):
    """Show how training goes: a bar on a terminal, a line for each evaluation elsewhere.

    Args:
        console: a rich console.
    """

    def __init__(self, console: Any) -> None:
        self._console = console
        self._shown = ExitStack()
        self._bar: Any = None
        self._task: Any = None
        self._num_steps = 0

    def on_begin(self, num_steps: int) -> None:
        """Start the bar."""
        self._num_steps = num_steps
        if not self._console.is_terminal:
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(
            *columns, TextColumn("{task.fields[note]}"), console=self._console, transient=True
        )
        self._task = self._bar.add_task("training", total=num_steps, note="")
        self._shown.enter_context(lines_above(self._bar))

    def on_log(self, step: int, metrics: dict[str, float]) -> None:
        """Move the bar."""
        if self._bar and "train/loss" in metrics:
            self._bar.update(self._task, completed=step, note=f"loss {metrics['train/loss']:.3f}")

    def on_evaluate(self, step: int, metrics: dict[str, float]) -> Decision:
        """Say how the validation split does."""
        value = metrics.get(f"validation/{self.objective}", math.nan)
        loss = metrics.get("validation/loss", math.nan)
        logger.info(
            "step %d of %d: validation %s %.4f, loss %.4f",
            step,
            self._num_steps,
            self.objective,
            value,
            loss,
        )
        return Decision.CONTINUE

    def close(self) -> None:
        """Take the bar off the screen."""
        self._shown.close()
        self._bar = None


class OwnMonitor(Monitor):
    """A monitor of the user's own: what it raises is shown with their frames, and no answer means go on.

    Args:
        monitor: theirs.
    """

    def __init__(self, monitor: Monitor) -> None:
        self._monitor, self._name = monitor, type(monitor).__name__

    def on_begin(self, num_steps: int) -> None:
        """Pass it on, with what the run has said of the objective."""
        self._monitor.objective = self.objective
        with calling("monitors", self._name):
            self._monitor.on_begin(num_steps)

    def on_log(self, step: int, metrics: dict[str, float]) -> None:
        """Pass it on; what they do to the numbers stays theirs."""
        with calling("monitors", self._name):
            self._monitor.on_log(step, dict(metrics))

    def on_evaluate(self, step: int, metrics: dict[str, float]) -> Decision:
        """Pass it on, and return what they decide."""
        with calling("monitors", self._name):
            found: Any = self._monitor.on_evaluate(step, dict(metrics))
            return Decision.CONTINUE if found is None else Decision(found)

    def on_checkpoint(self, path: Path) -> None:
        """Pass it on."""
        with calling("monitors", self._name):
            self._monitor.on_checkpoint(path)


def own_monitors(made: Sequence[Any]) -> list[Monitor]:
    """Return what a config's `monitors` made, ready to listen.

    Raises:
        ConfigError: something else than a monitor.
    """
    for i, monitor in enumerate(made):
        if not isinstance(monitor, Monitor):
            rule = f"It must give a finesweep.training.Monitor, and this is a {type(monitor).__name__}."
            fix = "Derive its class from that one; every method does nothing until yours says otherwise."
            raise ConfigError(Fault(f"monitors[{i}]", rule, monitor, fix=fix))
    return [OwnMonitor(monitor) for monitor in made]
