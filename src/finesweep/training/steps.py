"""One optimizer step: forward, loss, backward, clipping, optimizer; and how one follows another."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from finesweep.system import distributed
from finesweep.training.base import TrainingTask
from finesweep.training.batches import TrainLoader
from finesweep.training.losses import count_labels

if TYPE_CHECKING:
    from accelerate import Accelerator

    from finesweep.models.adalora import AdaLoraSchedule

Batch = dict[str, Tensor]


class Steps(Protocol):
    """A way of doing optimizer steps.

    `window` is the sum of the losses since it was last emptied, a scalar on the device.
    """

    @property
    def window(self) -> Tensor: ...

    def batches(self, loader: TrainLoader) -> Iterable[Any]:
        """Return an epoch's micro-batches, in the form that `do` takes."""
        ...

    def do(self, microbatches: Sequence[Any], number: int) -> Tensor:
        """Do optimizer step `number`, counted from 1, and return the norm that the gradient had, a scalar."""
        ...

    def close(self) -> None:
        """Let go of what the steps needed, after the last one."""


class Work:
    """What a step does to the weights, the same whether it is recorded or not.

    Args:
        task: what is trained, and its loss.
        args: TrainingArguments.
        accelerator: made the two that follow ready.
        model: the prepared model.
        optimizer: the prepared optimizer.
    """

    def __init__(
        self, task: TrainingTask, args: Any, accelerator: Accelerator, model: Any, optimizer: Any
    ) -> None:
        self.task, self.args = task, args
        self.accelerator, self.model, self.optimizer = accelerator, model, optimizer
        self.trained = [weight for weight in model.parameters() if weight.requires_grad]
        kind = torch.promote_types(self.trained[0].dtype, torch.float32)
        self.window = torch.zeros((), dtype=kind, device=accelerator.device)
        self.is_updating = False  # it stays true where the optimizer was cut off in the middle

    def accumulate(self, batch: dict[str, Tensor], scale: float | Tensor, penalty: Tensor | None) -> None:
        """Add a micro-batch's share to the gradient, and its loss to the window.

        Args:
            batch: labels and what the model reads, on the device.
            scale: 1 / labels of the whole step; several processes take the mean of their gradients, hence
                times their number.
            penalty: is added to the sum over the micro-batch's labels.
        """
        self.is_updating = False
        inputs = {name: values for name, values in batch.items() if name != "labels"}
        logits = self.model(**inputs).logits
        loss = self.loss(logits, batch["labels"], scale, penalty)
        self.accelerator.backward(loss)
        self.window += loss.detach()

    def loss(
        self, logits: Tensor, labels: Tensor, scale: float | Tensor, penalty: Tensor | None = None
    ) -> Tensor:
        """Return a micro-batch's share of its step's loss; the arguments are those of `accumulate`."""
        loss = self.task.loss(logits, labels, self.args.label_smoothing_factor)
        if penalty is not None:
            loss = loss + penalty
        return loss * scale

    def update(self) -> Tensor:
        """Let the optimizer use the gradient, and return the norm that it had before clipping."""
        limit = self.args.max_grad_norm or math.inf
        grad_norm = torch.nn.utils.clip_grad_norm_(self.trained, limit)
        self.is_updating = True
        self.optimizer.step()
        self.is_updating = False
        return grad_norm

    def forget_gradient(self) -> None:
        """Set the gradient to zero, where it is: others may hold it."""
        for weight in self.trained:
            if weight.grad is not None:
                weight.grad.zero_()


class EagerSteps:
    """Steps whose kernels are launched one by one.

    Args:
        work: what a step does.
        ranks: AdaLoRA's schedule, if it is the method.
    """

    def __init__(self, work: Work, ranks: AdaLoraSchedule | None) -> None:
        self._work, self._ranks = work, ranks
        self.window = work.window

    def batches(self, loader: TrainLoader) -> Iterable[dict[str, Tensor]]:
        """Return an epoch's padded micro-batches."""
        return loader

    def do(self, microbatches: Sequence[dict[str, Tensor]], number: int) -> Tensor:
        """Do optimizer step `number`, and return the norm that the gradient had."""
        work, world = self._work, distributed.world_size()
        count: Any = sum(count_labels(batch["labels"]) for batch in microbatches)
        if world > 1:
            count = work.accelerator.reduce(torch.tensor(count, device=work.accelerator.device))
        count = max(count, 1)  # of a step without any label the loss is 0
        for batch in microbatches[:-1]:
            with work.accelerator.no_sync(work.model):
                self._accumulate(batch, world / count)
        self._accumulate(microbatches[-1], world / count)
        if work.accelerator.scaler is not None:
            work.accelerator.unscale_gradients()
        grad_norm = work.update()
        if self._ranks:
            self._ranks.after_step(number)
        work.optimizer.zero_grad()
        return grad_norm

    def close(self) -> None:
        """Do nothing: an ordinary step keeps nothing."""

    def _accumulate(self, batch: dict[str, Tensor], scale: Any) -> None:
        device = self._work.accelerator.device
        moved = {name: values.to(device, non_blocking=True) for name, values in batch.items()}
        penalty = self._ranks.penalty() * count_labels(batch["labels"]) if self._ranks else None
        self._work.accumulate(moved, scale, penalty)
