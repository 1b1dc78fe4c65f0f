"""What a transformers.Trainer tells, passed on to a task's monitors, and what they decide."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from finesweep.errors import Interrupted
from finesweep.models.adalora import AdaLoraSchedule, schedule_of
from finesweep.models.weights import load_prompt
from finesweep.system import distributed
from finesweep.system.signals import stop_requested
from finesweep.training.base import Decision, TrainingTask
from finesweep.training.saving import Saver
from finesweep.training.settings import Extras, best_metric_name

if TYPE_CHECKING:
    import numpy as np


class Bridge(TrainerCallback):
    """Pass a Trainer's events on to the task's monitors.

    Args:
        task: whose monitors are told.
        extras: when to stop early.
        keep: how many checkpoints to keep beside the best.
    """

    def __init__(self, task: TrainingTask, extras: Extras, keep: int | None) -> None:
        self._task, self._extras = task, extras
        self.saver = Saver(task.checkpoints, keep, task.monitors.on_checkpoint)
        self.decision = Decision.CONTINUE
        self.forgets_best = False
        self.start: Path | None = None
        self.logits: np.ndarray | None = None
        self.best_logits: np.ndarray | None = None
        self.best_step: int | None = None
        self.ranks: AdaLoraSchedule | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Tell how long training will be."""
        if self.start:
            load_prompt(self._task.model, self.start)
        state.best_model_checkpoint = None
        if self.forgets_best:
            state.log_history = []
            state.best_metric = state.best_global_step = None
        state.compute_steps(args, state.max_steps)  # a checkpoint of other settings has other steps
        self.ranks = schedule_of(self._task.model, state.max_steps)
        self._task.begin(state.max_steps)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Let AdaLoRA take ranks away while the gradients are still there."""
        if self.ranks:
            self.ranks.after_step(state.global_step + 1)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Save at once when a signal came."""
        if distributed.highest(stop_requested() or 0):
            control.should_save = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Pass training metrics on."""
        if logs and "loss" in logs:
            values = {**_without_timings(logs), "loss": logs["loss"] * self._task.loss.unit}
            self._task.monitors.on_log(state.global_step, _prefixed(values, "train"))

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any) -> None:
        """Pass an evaluation on, and stop when a monitor or the patience says so."""
        values = _without_timings({name.removeprefix("eval_"): v for name, v in (metrics or {}).items()})
        self._note_best(args, state, control, values[best_metric_name(args, values)])
        decision = self._task.monitors.on_evaluate(state.global_step, _prefixed(values, "validation"))
        self.decision = distributed.broadcast(max(decision, self._patience(args, state)))
        if self.decision is not Decision.CONTINUE:
            control.should_training_stop = True

    def _note_best(self, args: Any, state: Any, control: Any, value: float) -> None:
        """Keep the best logits, and have their checkpoint saved, before the Trainer itself compares."""
        sign = 1 if args.greater_is_better else -1
        if sign * value > (-math.inf if state.best_metric is None else sign * state.best_metric):
            self.best_logits, self.best_step = self.logits, state.global_step
            control.should_save |= args.load_best_model_at_end  # also where fewer steps are saved

    def has_ended(self, args: Any, state: Any) -> bool:
        """Say whether there is nothing left to train."""
        return state.global_step >= state.max_steps or self._patience(args, state) is Decision.STOP

    def _patience(self, args: Any, state: Any) -> Decision:
        name = f"eval_{args.metric_for_best_model.removeprefix('eval_')}"
        objectives = [line[name] for line in state.log_history if name in line]
        has_stalled = self._extras.has_stalled(objectives, maximize=args.greater_is_better)
        return Decision.STOP if has_stalled else Decision.CONTINUE

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """End when a signal came."""
        if number := distributed.highest(stop_requested() or 0):
            self.saver.wait()
            raise Interrupted(number)


def needed_step(args: Any, state: Any) -> int | None:
    """Return the step of the best evaluation so far, if its checkpoint is needed at the end."""
    return state.best_global_step if args.load_best_model_at_end else None


def _prefixed(values: dict[str, Any], split: str) -> dict[str, float]:
    """Prefix metric names with their split."""
    return {name if name == "epoch" else f"{split}/{name}": float(value) for name, value in values.items()}


def _without_timings(values: dict[str, Any]) -> dict[str, Any]:
    timings = ("runtime", "samples_per_second", "steps_per_second", "model_preparation_time")
    return {name: value for name, value in values.items() if name.removeprefix("train_") not in timings}
