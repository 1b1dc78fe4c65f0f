"""`trainer=hf`: the keys of transformers.Trainer, which is put to work in hf_bridge.py."""

from __future__ import annotations

from typing import Any

from finesweep.system.signatures import forwards_to
from finesweep.training.base import Trainer, TrainingTask
from finesweep.training.native import native_trainer
from finesweep.training.settings import read_keys


@forwards_to("finesweep.training.settings.read_keys", reserved={})
def hf_trainer(*, task: TrainingTask, **keys: Any) -> Trainer:
    """Return a trainer that is transformers.Trainer.

    Args:
        task: what to train, on what, and who listens.
        keys: see `finesweep.training.settings.read_keys`.

    Raises:
        ConfigError: the keys contradict each other, or this machine can't do what they ask.
    """
    if task.pack is not None:  # its steps are the native loop's, to which the same keys mean the same
        return native_trainer(task=task, **keys)
    from finesweep.training.hf_bridge import HFTrainer

    return HFTrainer(*read_keys(task, **keys))
