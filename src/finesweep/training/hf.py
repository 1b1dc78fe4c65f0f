"""`trainer=hf`: the keys of transformers.Trainer, which is put to work in hf_bridge.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from finesweep.signatures import forwards_to
from finesweep.training.base import Trainer, TrainingTask
from finesweep.training.settings import RESERVED, Extras, training_arguments

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler


@forwards_to("transformers.TrainingArguments", reserved=RESERVED)
def hf_trainer(
    *,
    task: TrainingTask,
    optimizer: Callable[..., Optimizer] | None = None,
    lr_scheduler: Callable[..., LRScheduler] | None = None,
    loraplus_lr_ratio: float | None = None,
    early_stopping_patience: int | None = None,
    early_stopping_threshold: float = 0.0,
    **arguments: Any,
) -> Trainer:
    """Return a trainer that is transformers.Trainer.

    Args:
        task: what to train, on what, and who listens.
        optimizer: see `finesweep.training.settings.Extras`, as for the next four.
        lr_scheduler: a `_partial_` that takes an optimizer.
        loraplus_lr_ratio: LoRA+'s ratio of rates.
        early_stopping_patience: evaluations.
        early_stopping_threshold: in units of the objective.
        arguments: fields of transformers.TrainingArguments. Checkpoints are saved when the
            validation split is evaluated, unless `save_strategy` and `save_steps` say otherwise.
            `resume_from_checkpoint` is where to start when the run has no checkpoint of its own yet.

    Raises:
        ConfigError: the fields contradict each other, or this machine can't do what they ask.
    """
    from finesweep.training.hf_bridge import HFTrainer

    extras = Extras(
        optimizer, lr_scheduler, loraplus_lr_ratio, early_stopping_patience, early_stopping_threshold
    )
    return HFTrainer(task, training_arguments(task, arguments), extras)
