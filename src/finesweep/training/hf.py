"""`trainer=hf`: transformers.Trainer behind finesweep's Trainer protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from finesweep import checkpoints
from finesweep.errors import ConfigError, Fault, Interrupted
from finesweep.process import stop_at_next_step, stop_requested
from finesweep.signatures import forwards_to
from finesweep.training.base import Decision, Fitted, TrainingTask

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset

# The one field of TrainingArguments that isn't the user's.
RESERVED = {
    "output_dir": "Checkpoints belong to the run folder. Set the key `output_dir` instead, without `trainer.`"
}


@forwards_to("transformers.TrainingArguments", reserved=RESERVED)
class HFTrainer:
    """Train with transformers.Trainer.

    Args:
        task: what to train, on what, and who listens.
        arguments: fields of transformers.TrainingArguments. Checkpoints are saved when the
            validation split is evaluated, unless `save_strategy` and `save_steps` say otherwise.
            `resume_from_checkpoint` is where to start when the run has no checkpoint of its own yet.

    Raises:
        ConfigError: TrainingArguments refuses the fields.
    """

    def __init__(self, *, task: TrainingTask, **arguments: Any) -> None:
        from transformers import PrinterCallback, Trainer

        self._task = task
        self._bridge = _make_bridge(task, keep=arguments.pop("save_total_limit", None))
        self._trainer = Trainer(
            model=task.model,
            args=_training_arguments(task, arguments),
            train_dataset=task.train,
            eval_dataset=task.validation,
            data_collator=task.collator,
            compute_metrics=lambda output: task.compute_metrics(
                _first(output.predictions), _first(output.label_ids)
            ),
            callbacks=[self._bridge],
        )
        self._trainer.remove_callback(PrinterCallback)

    def fit(self) -> Fitted:
        """Train, from the newest valid checkpoint if there is one; leave the best weights in the model."""
        arguments = self._trainer.args
        given = arguments.resume_from_checkpoint
        resume = checkpoints.newest_valid(self._task.checkpoints) or (
            checkpoints.given(Path(given)) if given else None
        )
        with stop_at_next_step():
            self._trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        state = self._trainer.state
        best = state.best_global_step if arguments.load_best_model_at_end else None
        return Fitted(state.global_step, best or state.global_step, self._bridge.decision)

    def predict(self, rows: Dataset) -> np.ndarray:
        """Return logits of shape (rows, labels), in the rows' order."""
        return _first(self._trainer.predict(cast(Any, rows)).predictions)


def _training_arguments(task: TrainingTask, arguments: dict[str, Any]) -> Any:
    import torch
    from transformers import TrainingArguments

    evaluation = {
        name: arguments[f"eval_{name}"] for name in ("strategy", "steps") if f"eval_{name}" in arguments
    }
    defaults = {f"save_{name}": value for name, value in evaluation.items()}
    defaults |= {
        "seed": task.seed,
        "data_seed": task.seed,
        "metric_for_best_model": task.objective,
        "greater_is_better": task.maximize,
        "load_best_model_at_end": True,
        "label_names": ["labels"],  # without it eval_loss goes missing under PEFT
        "remove_unused_columns": False,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "logging_nan_inf_filter": False,  # a NaN loss must be seen, not replaced by the last good one
    }
    try:
        return TrainingArguments(**{**defaults, **arguments}, output_dir=str(task.checkpoints))
    except ValueError as error:
        raise ConfigError(Fault("trainer", f"transformers.TrainingArguments refuses it: {error}")) from error


def _make_bridge(task: TrainingTask, keep: int | None) -> Any:
    """Return a TrainerCallback that seals checkpoints and passes events on to the task's monitors.

    Args:
        task: whose monitors are told.
        keep: `save_total_limit`. The Trainer would remove the old checkpoint before the new one is sealed.
    """
    from transformers import TrainerCallback

    class Bridge(TrainerCallback):
        decision = Decision.CONTINUE

        def on_train_begin(self, args, state, control, **_):
            task.monitors.on_begin(state.max_steps)

        def on_step_end(self, args, state, control, **_):
            if state.global_step >= state.max_steps:  # eval_steps rarely divides the number of steps
                control.should_evaluate = control.should_save = True
            if stop_requested():
                control.should_save = True

        def on_log(self, args, state, control, logs=None, **_):
            if logs and "loss" in logs:
                task.monitors.on_log(state.global_step, _prefixed(logs, "train"))

        def on_evaluate(self, args, state, control, metrics=None, **_):
            values = {name.removeprefix("eval_"): value for name, value in (metrics or {}).items()}
            self.decision = task.monitors.on_evaluate(state.global_step, _prefixed(values, "validation"))
            if self.decision is not Decision.CONTINUE:
                control.should_training_stop = True

        def on_save(self, args, state, control, **_):
            folder = Path(args.output_dir, f"{checkpoints.PREFIX}{state.global_step}")
            (folder / "training_args.bin").unlink(missing_ok=True)  # a pickle, and it may hold a hub token
            checkpoints.seal(folder)
            best = Path(state.best_model_checkpoint) if state.best_model_checkpoint else None
            checkpoints.rotate(task.checkpoints, keep, best)
            task.monitors.on_checkpoint(folder)
            if number := stop_requested():
                raise Interrupted(number)

    return Bridge()


def _prefixed(values: dict[str, Any], split: str) -> dict[str, float]:
    """Prefix metric names with their split, and leave the Trainer's timings out."""
    timings = ("runtime", "_per_second", "_time")
    return {
        name if name == "epoch" else f"{split}/{name}": float(value)
        for name, value in values.items()
        if not name.endswith(timings)
    }


def _first(arrays: Any) -> Any:
    """Return the logits of models that return more beside them."""
    return arrays[0] if isinstance(arrays, tuple) else arrays
