"""How many rows of the validation split are evaluated during training, so that they don't swallow a run.

Decided from counts, not by clocks, so that one config gives the same bits everywhere.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from finesweep.errors import ConfigError, Fault
from finesweep.system import distributed
from finesweep.training.base import TrainingTask

EvalRows = int | Literal["auto", "all"]
# Fewer texts than this tell checkpoints apart too badly.
SMALLEST_PART = 256


def watched_task(task: TrainingTask, args: Any, eval_rows: EvalRows) -> TrainingTask:
    """Return a task whose evaluations during training have no more texts than `eval_rows` says.

    Args:
        task: with its whole validation split, and `parts`, which takes some of it.
        args: TrainingArguments.
        eval_rows: a number of texts; `all`; `auto`: as many as cost about a third of the training at most.

    Raises:
        ConfigError: it is none of these.
    """
    is_count = isinstance(eval_rows, int) and not isinstance(eval_rows, bool) and eval_rows > 0
    if not is_count and eval_rows not in ("auto", "all"):
        rule = "It is a number of texts, all, or auto."
        raise ConfigError(Fault("trainer.eval_rows", rule, eval_rows, valid=("auto", "all", "500")))
    if eval_rows == "all" or task.parts is None:
        return task
    texts = task.parts.texts
    count = _affordable(task, args) if isinstance(eval_rows, str) else eval_rows
    if count >= texts:
        return task
    rows, compute_metrics = task.parts.take(count)
    return replace(task, validation=rows, compute_metrics=compute_metrics, eval_rows=count)


def _affordable(task: TrainingTask, args: Any) -> int:
    seen, evaluations = _rows_and_evaluations(task, args)
    return affordable_texts(task.parts.texts if task.parts else 0, len(task.validation), seen, evaluations)


def affordable_texts(texts: int, rows: int, seen: float, evaluations: float) -> int:
    """Return how many texts an evaluation may have, so that all of them cost a third of the training at most.

    A row that is evaluated costs about a third of one that is trained on, which goes through the model again
    and backwards. So the evaluations have a third when they have as many rows as the training. Parts come
    in powers of two: trials of a sweep that differ little in length have the same one.

    Args:
        texts: of the whole split.
        rows: its encoded rows: more than texts where they are read in windows.
        seen: rows that training sees, all epochs together.
        evaluations: how many there will be, before the last one, which is of the whole split.
    """
    if evaluations * rows <= seen:
        return texts
    count = SMALLEST_PART
    while evaluations * 2 * count * rows / texts + rows <= seen:
        count *= 2
    return min(count, texts)


def _rows_and_evaluations(task: TrainingTask, args: Any) -> tuple[float, float]:
    """Return how many rows training sees, and about how often it evaluates."""
    step = args.per_device_train_batch_size * args.gradient_accumulation_steps * distributed.world_size()
    seen = args.max_steps * step if args.max_steps > 0 else args.num_train_epochs * len(task.train)
    if args.eval_strategy == "no":
        return seen, 0
    if args.eval_strategy == "epoch":
        return seen, seen / len(task.train)
    # a share of all steps, whatever their number: a batch's size must not change the part
    return seen, 1 / args.eval_steps if args.eval_steps < 1 else seen / step / args.eval_steps
