"""What finesweep needs of transformers.Trainer that isn't offered; tests/test_library_insides.py tests each.

All of it was read from transformers 5.23.0, trainer.py. It stands apart from what models need
(models/transformers_insides.py), since importing a Trainer takes long and predicting needs none.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers
from torch import Tensor


class OpenTrainer(transformers.Trainer):
    """A transformers.Trainer with what it does in private in the open: whether to train, and how to save."""

    def has_ended(self) -> bool:
        """Say whether there is nothing left to train.

        It is asked before each epoch. A callback can't answer: the Trainer looks at `should_training_stop`
        when it has done a step.
        """
        return False

    def keep_checkpoint(self, save: Callable[[], None]) -> None:
        """Save a checkpoint with `save`, which writes it below `args.output_dir`.

        A callback is told when that has happened, and `save_model` leaves out optimizer and random states.
        """
        save()

    @property
    def window(self) -> tuple[Tensor, int]:
        """The loss since the last logged step, and that step: a checkpoint of the Trainer's has neither."""
        return self._tr_loss, self._globalstep_last_logged

    @window.setter
    def window(self, values: tuple[Tensor, int]) -> None:
        self._tr_loss, self._globalstep_last_logged = values

    def _run_epoch(self, *arguments: Any, **keywords: Any) -> None:
        if self.has_ended():
            self.control.should_training_stop = True
        else:
            super()._run_epoch(*arguments, **keywords)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self.keep_checkpoint(functools.partial(super()._save_checkpoint, model, trial))


def num_processes(checkpoint: Path) -> int:
    """Return how many processes saved a checkpoint: each has a file of random states."""
    return len(list(checkpoint.glob("rng_state*.pth")))
