"""A model's logits, of fewer rows at a time where memory runs out."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from finesweep.errors import Fault, TrainingError
from finesweep.training.micro_batches import MEMORY_ERRORS, free_memory, in_parts, is_out_of_memory, num_rows
from finesweep.training.steps import Batch

logger = logging.getLogger(__name__)

KEY = "trainer.per_device_eval_batch_size"


class Outputs:
    """Compute a model's logits; what has run out of memory once is computed in smaller parts from then on.

    Args:
        rows: of a batch, as asked for.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def of(self, model: Any, batches: Iterable[Batch], device: torch.device) -> list[Tensor]:
        """Return a model's logits of each batch, on the device.

        Raises:
            TrainingError: a single row doesn't fit into memory.
        """
        model.eval()
        with torch.no_grad():
            return [self._of_batch(model, batch, device) for batch in batches]

    def _of_batch(self, model: Any, batch: Batch, device: torch.device) -> Tensor:
        inputs = {name: values for name, values in batch.items() if name != "labels"}
        while True:
            try:
                parts = [_logits(model, part, device) for part in in_parts(inputs, self.rows)]
                return parts[0] if len(parts) == 1 else torch.cat(parts)
            except MEMORY_ERRORS as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(error, num_rows(batch))
            free_memory()  # here the error is gone, and with its frames what the batch had kept

    def _halve(self, error: BaseException, rows: int) -> None:
        if min(self.rows, rows) == 1:
            rule = "The device's memory doesn't suffice for the logits of a single row."
            fix = "Take a shorter tokenizer.max_length or a smaller model."
            raise TrainingError(Fault(KEY, rule, fix=fix)) from error
        self.rows = -(-min(self.rows, rows) // 2)
        logger.warning("memory     it ran out at an evaluation: %d rows at a time from here on", self.rows)


def _logits(model: Any, inputs: Batch, device: torch.device) -> Tensor:
    return model(**{name: values.to(device, non_blocking=True) for name, values in inputs.items()}).logits
