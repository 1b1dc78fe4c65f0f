"""Micro-batches that are halved when memory runs out, while an optimizer step stays what was asked for.

A step's loss is divided by the labels of the whole step (training/steps.py), so that its gradient doesn't
depend on how its rows are cut, but for rounding and dropout masks. What ran out of memory is therefore done
again in halves, from the weights as they are: no step is lost, and no checkpoint is needed.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from finesweep.errors import Fault, TrainingError
from finesweep.system import distributed
from finesweep.system.machine import is_about_memory
from finesweep.training.batches import TrainLoader
from finesweep.training.steps import Batch, Steps, Work

logger = logging.getLogger(__name__)

# What is raised when memory runs out: torch has a RuntimeError of its own for a GPU, and none for a CPU.
MEMORY_ERRORS = (RuntimeError, MemoryError)
SMALLER = (
    "Take a shorter tokenizer.max_length or a smaller model; trainer.bf16=true and "
    "trainer.activation_checkpointing=true take less too."
)


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that memory ran out, on a GPU or on a CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and is_about_memory(str(error))


class Cuts:
    """How many rows a micro-batch has at most, so that it fits into memory.

    Args:
        args: TrainingArguments.
        rows: where it begins; None: at the batch that was asked for.
    """

    def __init__(self, args: Any, rows: int | None = None) -> None:
        self._asked, self._accumulation = args.per_device_train_batch_size, args.gradient_accumulation_steps
        self.rows = min(rows or self._asked, self._asked)

    @property
    def used(self) -> int | None:
        """The rows of a micro-batch where that was cut, else None."""
        return self.rows if self.rows < self._asked else None

    def of(self, batch: Batch) -> list[Batch]:
        """Return a micro-batch in parts, none of which has too many rows."""
        return in_parts(batch, self.rows)

    def halve(self, error: Exception, number: int) -> None:
        """Cut micro-batches into halves from a step on, if that can help against an error.

        Args:
            error: what the step ended with.
            number: the step's.

        Raises:
            Exception: the error, where it is of another kind.
            TrainingError: a single row doesn't fit, or several processes train together: the others are past
                this micro-batch.
        """
        if not is_out_of_memory(error):
            raise error
        if self.rows == 1 or distributed.world_size() > 1:
            raise TrainingError(self._fault()) from error
        self.rows = -(-self.rows // 2)
        logger.warning(
            "memory     it ran out at step %d: micro-batches of %d rows from here on, "
            "in steps of %d as before",
            number,
            self.rows,
            self._asked * self._accumulation,
        )

    def _fault(self) -> Fault:
        rule = f"The device's memory doesn't suffice for a micro-batch of {self.rows} rows."
        fix = SMALLER
        if self.rows > 1:
            half = -(-self.rows // 2)
            keys = {
                "per_device_train_batch_size": half,
                "gradient_accumulation_steps": self._accumulation * -(-self._asked // half),
            }
            fix = f"The same steps from less: {' '.join(f'trainer.{k}={v}' for k, v in keys.items())}"
        return Fault("trainer.per_device_train_batch_size", rule, self._asked, fix=fix)


class FittingSteps:
    """Steps that are done again in halves when memory runs out, by steps that aren't recorded.

    Args:
        steps: does them while there is memory.
        eager: does them from then on where the others are recorded: those have buffers of one size.
        work: what a step does.
        cuts: how many rows a micro-batch has.
    """

    def __init__(self, steps: Steps, eager: Steps | None, work: Work, cuts: Cuts) -> None:
        self._steps, self._eager, self._work, self._cuts = steps, eager, work, cuts

    @property
    def window(self) -> Tensor:
        """The sum of the losses since it was last emptied."""
        return self._work.window

    def batches(self, loader: TrainLoader) -> Iterable[Any]:
        """Return an epoch's micro-batches, in the form that `do` takes."""
        return self._steps.batches(loader)

    def do(self, microbatches: Sequence[Any], number: int) -> Tensor:
        """Do optimizer step `number`, and return the norm that the gradient had.

        Raises:
            TrainingError: a single row doesn't fit into memory.
        """
        while True:
            before = self.window.clone()
            try:
                return self._steps.do(self._cut(microbatches), number)
            except MEMORY_ERRORS as error:
                if self._work.is_updating:  # some weights may have changed already
                    raise
                self._cuts.halve(error, number)
            # Here the error is gone, and with its frames what the step had kept.
            if self._eager is not None:
                self._steps, self._eager = self._eager, None
            self._work.forget_gradient()
            self.window.copy_(before)
            free_memory()

    def close(self) -> None:
        """Let go of what the steps needed, after the last one."""
        self._steps.close()

    def _cut(self, microbatches: Sequence[Any]) -> Sequence[Any]:
        if self._cuts.used is None:
            return microbatches
        return [part for batch in microbatches for part in self._cuts.of(self._as_rows(batch))]

    def _as_rows(self, batch: Any) -> Batch:
        """Return a padded micro-batch; recorded steps may have had its rows' numbers alone."""
        if not isinstance(batch, list):
            return batch
        task = self._work.task
        return task.collator(task.train.__getitems__(batch))


def num_rows(batch: Batch) -> int:
    """Return how many rows a batch has, whatever its columns are called."""
    return len(next(iter(batch.values())))


def in_parts(batch: Batch, rows: int) -> list[Batch]:
    """Return a batch in parts, none of which has more rows."""
    if num_rows(batch) <= rows:
        return [batch]
    columns = [values.split(rows) for values in batch.values()]
    return [dict(zip(batch, parts, strict=True)) for parts in zip(*columns, strict=True)]


def free_memory() -> None:
    """Give back what the device's allocator keeps of a step that failed."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
