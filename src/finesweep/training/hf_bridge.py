"""transformers.Trainer behind finesweep's Trainer protocol."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
import transformers
from torch import Tensor

from finesweep.data.labels import IGNORED
from finesweep.models.weights import load_weights, save_prompt, without_card
from finesweep.system import distributed
from finesweep.system.signals import stop_at_next_step
from finesweep.training import checkpoints
from finesweep.training.base import Fitted, TrainingTask
from finesweep.training.batches import TrainLoader, train_loader
from finesweep.training.hf_events import Bridge, needed_step
from finesweep.training.micro_batches import MEMORY_ERRORS, Cuts, free_memory
from finesweep.training.settings import Extras, bound_keys, make_optimizer, make_scheduler, refusals
from finesweep.training.trainer_insides import OpenTrainer, num_processes

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset

STATE = "trainer.pt"  # what a checkpoint of transformers leaves out


class HFTrainer:
    """Train with transformers.Trainer.

    Args:
        task: what to train, on what, and who listens.
        args: TrainingArguments.
        extras: the other keys.
    """

    def __init__(self, task: TrainingTask, args: Any, extras: Extras) -> None:
        self._task, self._args, self._extras = task, args, extras
        # The Trainer would remove the old checkpoint before the new one is whole.
        keep, args.save_total_limit = args.save_total_limit, None
        self._bridge = Bridge(task, extras, keep)
        with refusals():
            self._trainer = SealingTrainer(task, args, extras, self._bridge)

    def fit(self) -> Fitted:
        """Train, from the newest valid checkpoint if there is one; leave the best weights in the model."""
        bound = bound_keys(self._args, self._extras)
        start = checkpoints.start_of(self._task.start, self._args.resume_from_checkpoint, bound)
        self._bridge.forgets_best = start != self._task.start  # which is in another run's folder
        self._bridge.start = self._trainer.start = start
        if start:
            checkpoints.check_processes(start, num_processes(start), self._args.world_size)
        with stop_at_next_step():
            try:
                self._trainer.train(resume_from_checkpoint=str(start) if start else None)
                self._bridge.saver.wait()
            finally:
                self._bridge.saver.close()
            state = self._trainer.state
            best = needed_step(self._args, state)
            if best:
                load_weights(self._task.model, checkpoints.verified(self._task.checkpoints, best))
        logits = self._bridge.best_logits if best == self._bridge.best_step else None
        logits, eval_rows = self._task.known_logits(logits), self._task.eval_rows
        step, used = state.global_step, self._trainer.cuts.used
        return Fitted(step, best or step, self._bridge.decision, logits, eval_rows, used)

    def predict(self, rows: Dataset) -> np.ndarray:
        """Return logits of shape (rows, labels), or (rows, tokens, labels), in the rows' order."""
        trainer, measure = self._trainer, self._trainer.compute_metrics
        trainer.compute_metrics = None  # it measures the validation split
        try:
            return _first(trainer.predict(cast(Any, rows)).predictions)
        finally:
            trainer.compute_metrics = measure


class SealingTrainer(OpenTrainer):
    """A transformers.Trainer with finesweep's batches, loss and checkpoints.

    Its own batches repeat rows where several processes don't divide a data set; its own loss adds up
    over accumulated batches, for models like BERT, instead of being their mean; its own checkpoints
    are not atomic.
    """

    def __init__(self, task: TrainingTask, args: Any, extras: Extras, bridge: Bridge) -> None:
        self._task, self._extras, self._bridge = task, extras, bridge
        self.start: Path | None = None
        self.cuts = Cuts(args, task.micro_batch)
        self._given: tuple[int, list[Any]] = 0, []
        super().__init__(
            model=task.model,
            args=args,
            train_dataset=task.train,  # type: ignore[arg-type]
            eval_dataset=task.validation,  # type: ignore[arg-type]
            data_collator=task.collator,
            compute_loss_func=self._loss,
            compute_metrics=self._metrics,
            callbacks=[bridge],
        )
        self.remove_callback(transformers.PrinterCallback)

    def get_train_dataloader(self) -> TrainLoader:
        """Return a loader of the batches that every trainer has."""
        rank, world = self.args.process_index, self.args.world_size
        return train_loader(self._task.train, self._task.collator, self.args, rank=rank, world=world)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """Return a loader for an evaluation, of every row."""
        with self._every_row():
            return super().get_eval_dataloader(eval_dataset)

    def get_test_dataloader(self, test_dataset: Any) -> Any:
        """Return a loader for a prediction, of every row."""
        with self._every_row():
            return super().get_test_dataloader(test_dataset)

    @contextmanager
    def _every_row(self) -> Iterator[None]:
        """Set `dataloader_drop_last`, which is for training, aside."""
        drop_last, self.args.dataloader_drop_last = self.args.dataloader_drop_last, False
        try:
            yield
        finally:
            self.args.dataloader_drop_last = drop_last

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """Compute a micro-batch's share of the gradient, and return its loss.

        Where memory runs out, the gradient of the whole step so far is computed again in halves.
        """
        number = self.state.global_step + 1
        before = self._given[1] if self._given[0] == number else []
        self._given = number, [*before, inputs]
        todo = [inputs]
        while True:
            try:
                losses = [self._in_parts(model, batch, num_items_in_batch) for batch in todo]
                return losses[-1]
            except MEMORY_ERRORS as error:
                self.cuts.halve(error, number)
            model.zero_grad()
            free_memory()
            todo = self._given[1]

    def _in_parts(self, model: Any, batch: Any, count: Any) -> Tensor:
        step = super().training_step
        return torch.stack([step(model, part, count) for part in self.cuts.of(batch)]).sum()

    def create_optimizer(self, model: Any = None) -> Any:
        """Make the optimizer that the keys ask for."""
        if self.optimizer is None:
            self.optimizer = make_optimizer(model or self.model, self.args, self._extras)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Make the schedule that the keys ask for."""
        if self.lr_scheduler is None:
            self.lr_scheduler = make_scheduler(
                optimizer or self.optimizer, self.args, self._extras, num_training_steps
            )
        return self.lr_scheduler

    def has_ended(self) -> bool:
        """Say whether the checkpoint that training goes on from was the last."""
        if self.start:
            self._restore(self.start)
            self.start = None
        return self._bridge.has_ended(self.args, self.state)

    def _restore(self, checkpoint: Path) -> None:
        device = self.args.device
        # Several processes without a GPU are on `cpu:0`, a place that torch.load doesn't know.
        place = "cpu" if device.type == "cpu" else device
        state = torch.load(checkpoint / STATE, map_location=place, weights_only=True)
        self.window = state["windows"][self.args.process_index]
        if self._bridge.ranks:
            self._bridge.ranks.restore(state["ranks"])

    def floating_point_ops(self, inputs: Any) -> int:
        """Return 0: nobody reads this estimate, for which the Trainer counts all parameters at each step."""
        return 0

    def _loss(self, outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        loss = self._task.loss(outputs.logits, labels, self.args.label_smoothing_factor)
        if ranks := self._bridge.ranks:
            loss = loss + ranks.penalty() * (labels != IGNORED).sum()
        # of a step without any label the loss is 0
        return loss / torch.as_tensor(num_items_in_batch).clamp(min=1)

    def _metrics(self, output: Any) -> dict[str, float]:
        logits = self._bridge.logits = _first(output.predictions)
        return self._task.compute_metrics(logits, _first(output.label_ids))

    def keep_checkpoint(self, save: Callable[[], None]) -> None:
        """Save into a staging folder, and move the checkpoint into place when it is whole."""
        state, best, ranks = self.state, needed_step(self.args, self.state), self._bridge.ranks
        loss, last_logged = self.window
        windows = distributed.gather((loss.cpu(), last_logged))
        step, bound = state.global_step, bound_keys(self.args, self._extras)
        with self._bridge.saver.saving(step, best, bound) as staging:
            self.args.output_dir = str(staging.parent)
            try:
                with without_card(self._task.model):
                    save()
            finally:
                self.args.output_dir = str(self._task.checkpoints)
            if distributed.is_main():
                (staging / "training_args.bin").unlink(missing_ok=True)  # a pickle, with the hub's token
                save_prompt(self._task.model, staging)
                own = {"windows": windows, "ranks": ranks.state() if ranks else None}
                torch.save(own, staging / STATE)
                if best:
                    state.best_model_checkpoint = str(checkpoints.path_of(self._task.checkpoints, best))
                state.save_to_json(os.fspath(staging / "trainer_state.json"))
        state.best_model_checkpoint = None  # it is verified and read by `fit`, not by the Trainer


def _first(arrays: Any) -> Any:
    """Return the logits of models that return more beside them."""
    return arrays[0] if isinstance(arrays, tuple) else arrays
