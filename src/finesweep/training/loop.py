"""The loop behind `trainer=native`: plain PyTorch on Accelerate.

Nothing in a step waits for the device: losses stay there, and are fetched a few at a time.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import AutocastKwargs, DistributedDataParallelKwargs, TorchDynamoPlugin
from torch import Tensor
from transformers import DefaultFlowCallback, TrainerControl, TrainerState
from transformers.trainer_utils import SaveStrategy

from finesweep.data.labels import IGNORED
from finesweep.errors import Interrupted
from finesweep.metrics.scores import label_array
from finesweep.models.adalora import schedule_of
from finesweep.models.speedups import CUDA_GRAPH
from finesweep.models.weights import load_weights, save_prompt, without_card
from finesweep.system import distributed
from finesweep.system.randomness import random_state, set_random_state
from finesweep.system.signals import stop_at_next_step, stop_requested
from finesweep.training import checkpoints
from finesweep.training.base import Decision, Fitted, TrainingTask
from finesweep.training.batches import batches_by_length, evaluation_loader, train_loader
from finesweep.training.graphs import graph_steps
from finesweep.training.micro_batches import Cuts, FittingSteps
from finesweep.training.outputs import Outputs
from finesweep.training.saving import Saver
from finesweep.training.settings import (
    Extras,
    best_metric_name,
    bound_keys,
    follows_the_metric,
    make_optimizer,
    make_scheduler,
    refusals,
)
from finesweep.training.steps import EagerSteps, Steps, Work

if TYPE_CHECKING:
    from datasets import Dataset

STATE = "trainer.pt"
# Logged steps between two fetches from a GPU.
FETCH_EVERY = 32


@dataclass
class Position:
    """How far training is: with the weights and the random states, all that a checkpoint needs.

    Args:
        step: optimizer steps done.
        objectives: the objective at each evaluation.
        best: the best of them.
        best_step: and its step.
    """

    step: int = 0
    objectives: list[float] = field(default_factory=list)
    best: float | None = None
    best_step: int | None = None


@dataclass
class Logged:
    """A step's losses and gradient norm, still on the device."""

    step: int
    epoch: float
    loss: Tensor
    grad_norm: Tensor
    learning_rate: float


class NativeTrainer:
    """Train with a plain loop.

    Args:
        task: what to train, on what, and who listens.
        args: TrainingArguments.
        extras: the other keys.
    """

    def __init__(self, task: TrainingTask, args: Any, extras: Extras) -> None:
        self._task, self._args, self._extras = task, args, extras
        with refusals():
            self._accelerator = _make_accelerator(args, caches_casts=CUDA_GRAPH not in task.speedups)
        if args.activation_checkpointing:
            task.model.activation_checkpointing_enable(args.activation_checkpointing_kwargs)
        self._model = self._accelerator.prepare(task.model)
        self._loader = train_loader(
            task.train, task.collator, args, rank=distributed.rank(), world=distributed.world_size()
        )
        self._steps_in_epoch = math.ceil(len(self._loader) / args.gradient_accumulation_steps)
        by_epochs = math.ceil(args.num_train_epochs * self._steps_in_epoch)
        self._num_steps = args.max_steps if args.max_steps > 0 else by_epochs
        self._flow = TrainerState(max_steps=self._num_steps)
        self._flow.compute_steps(args, self._num_steps)
        self._ranks = schedule_of(task.model, self._num_steps)
        self._progress = Position()
        self._decision = Decision.CONTINUE
        self._pending: list[Logged] = []
        self._best_logits: np.ndarray | None = None
        self._packed: Any = None
        self._outputs = Outputs(args.per_device_eval_batch_size)
        self._evaluated: tuple[Any, list[list[int]]] = None, []  # rows that were predicted last, in batches
        self._cuts = Cuts(args, task.micro_batch)
        self._saver = Saver(task.checkpoints, args.save_total_limit, task.monitors.on_checkpoint)

    def fit(self) -> Fitted:
        """Train, from the newest valid checkpoint if there is one; leave the best weights in the model."""
        optimizer = make_optimizer(self._task.model, self._args, self._extras)
        self._scheduler = make_scheduler(optimizer, self._args, self._extras, self._num_steps)
        self._follows_the_metric = follows_the_metric(self._scheduler)
        self._optimizer = self._accelerator.prepare(optimizer)
        self._steps = self._make_steps()
        self._window_start = 0
        if distributed.world_size() > 1 or self._args.seed != self._task.seed:
            torch.manual_seed(self._args.seed + distributed.rank())  # dropout masks of its own
        bound = bound_keys(self._args, self._extras)
        if start := checkpoints.start_of(self._task.start, self._args.resume_from_checkpoint, bound):
            self._restore(start)
        self._task.begin(self._num_steps)
        self._model.train()
        try:
            with stop_at_next_step():
                while self._goes_on():
                    self._train_epoch()
                self._saver.wait()
        finally:
            self._steps.close()
            self._saver.close()
        self._fetch()
        step, best = self._progress.step, self._needed_step
        end = functools.partial(Fitted, eval_rows=self._task.eval_rows, micro_batch=self._cuts.used)
        if best is None:
            return end(step, step, self._decision)
        if best != step:
            load_weights(self._task.model, checkpoints.verified(self._task.checkpoints, best))
        return end(step, best, self._decision, self._task.known_logits(self._best_logits))

    def predict(self, rows: Dataset) -> np.ndarray:
        """Return logits of shape (rows, labels), or (rows, tokens, labels), in the rows' order."""
        if rows is not self._evaluated[0]:
            self._evaluated = rows, batches_by_length(rows, self._args.per_device_eval_batch_size)
        batches = self._evaluated[1][distributed.rank() :: distributed.world_size()]
        loader = evaluation_loader(rows, batches, self._task.collator, self._args)
        if self._packed is not None:
            found = self._packed.logits(rows, loader)
        else:
            found = self._outputs.of(self._task.model, loader, self._accelerator.device)
        own = [
            (numbers, logits.float().cpu().numpy()) for numbers, logits in zip(batches, found, strict=True)
        ]
        parts = [part for parts in distributed.gather(own) for part in parts]
        shape = np.max([values.shape[1:] for _, values in parts], axis=0)
        logits = np.full((len(rows), *shape), IGNORED, np.float32)
        for numbers, values in parts:
            logits[(numbers, *map(slice, values.shape[1:]))] = values
        return logits

    @cached_property
    def _labels(self) -> np.ndarray:
        return label_array(self._task.validation)

    def _goes_on(self) -> bool:
        return self._progress.step < self._num_steps and self._decision is Decision.CONTINUE

    def _train_epoch(self) -> None:
        epoch, done = divmod(self._progress.step, self._steps_in_epoch)
        for number, microbatches in enumerate(self._updates(epoch, done), start=done + 1):
            grad_norm = self._update(microbatches)
            self._progress.step += 1
            seen = min(number * self._args.gradient_accumulation_steps, len(self._loader))
            is_last = number == self._steps_in_epoch
            self._after_update(epoch + seen / len(self._loader), grad_norm, is_last=is_last)
            if not self._goes_on():
                return

    def _make_steps(self) -> Steps:
        work = Work(self._task, self._args, self._accelerator, self._model, self._optimizer)
        eager = EagerSteps(work, self._ranks)
        if CUDA_GRAPH in self._task.speedups:
            num_batches = self._num_steps * self._args.gradient_accumulation_steps
            if steps := graph_steps(work, self._loader, self._ranks, num_batches):
                return FittingSteps(steps, eager, work, self._cuts)
        if self._task.pack is None:
            return FittingSteps(eager, None, work, self._cuts)
        self._packed = self._task.pack.join(work)
        return FittingSteps(self._packed, None, work, self._cuts)

    def _updates(self, epoch: int, done: int) -> Iterator[list[Any]]:
        """Yield the micro-batches of each optimizer step of an epoch, those of the first `done` left out."""
        accumulation = self._args.gradient_accumulation_steps
        self._loader.set_epoch(epoch)
        self._loader.batch_sampler.skip(done * accumulation)
        batches = iter(self._steps.batches(self._loader))
        while microbatches := list(islice(batches, accumulation)):
            yield microbatches

    def _update(self, microbatches: list[Any]) -> Tensor:
        """Do one optimizer step, and return the norm that the gradient had."""
        grad_norm = self._steps.do(microbatches, self._progress.step + 1)
        self._learning_rate = self._scheduler.get_last_lr()[0]
        if not (self._follows_the_metric or self._accelerator.optimizer_step_was_skipped):
            self._scheduler.step()
        return grad_norm

    def _after_update(self, epoch: float, grad_norm: Tensor, *, is_last: bool) -> None:
        """Log, evaluate and save where TrainingArguments say so, as transformers.Trainer would."""
        step = self._progress.step
        self._flow.global_step, self._flow.epoch = step, epoch
        flow, control = DefaultFlowCallback(), TrainerControl()
        flow.on_step_end(self._args, self._flow, control)
        if is_last or step == self._num_steps:
            flow.on_epoch_end(self._args, self._flow, control)
        if control.should_log:
            self._log(step, epoch, grad_norm)
        if control.should_evaluate:
            is_best = self._evaluate(step)
            if self._args.save_strategy == SaveStrategy.BEST:
                control.should_save = is_best
            control.should_save |= is_best and self._args.load_best_model_at_end
        stopped_by = distributed.highest(stop_requested() or 0)
        if control.should_save or stopped_by:
            self._save(step)
        if stopped_by:
            self._saver.wait()
            raise Interrupted(stopped_by)

    def _log(self, step: int, epoch: float, grad_norm: Tensor) -> None:
        loss = self._steps.window / (step - self._window_start)
        self._pending.append(Logged(step, epoch, loss, grad_norm, self._learning_rate))
        self._steps.window.zero_()
        self._window_start = step
        if self._accelerator.device.type == "cpu" or len(self._pending) >= FETCH_EVERY:
            self._fetch()

    def _fetch(self) -> None:
        """Bring pending losses from the device and tell the monitors."""
        if not self._pending:
            return
        losses = torch.stack([line.loss for line in self._pending])
        norms = torch.stack([line.grad_norm for line in self._pending])
        values = torch.stack((losses, norms.to(losses)), dim=1)
        if distributed.world_size() > 1:
            values = cast(Tensor, self._accelerator.reduce(values, "mean"))
        for line, (loss, grad_norm) in zip(self._pending, values.tolist(), strict=True):
            metrics = {
                "loss": loss * self._task.loss.unit,
                "grad_norm": grad_norm,
                "learning_rate": line.learning_rate,
            }
            named = {f"train/{name}": value for name, value in metrics.items()}
            self._task.monitors.on_log(line.step, {**named, "epoch": line.epoch})
        self._pending.clear()

    def _evaluate(self, step: int) -> bool:
        """Evaluate the validation split, and say whether this is the best so far."""
        self._fetch()
        logits = self.predict(self._task.validation)
        metrics = self._task.compute_metrics(logits, self._labels)
        self._model.train()
        progress, sign = self._progress, 1 if self._args.greater_is_better else -1
        value = metrics[best_metric_name(self._args, metrics)]
        progress.objectives.append(value)
        if self._follows_the_metric:
            self._scheduler.step(value)
        is_best = sign * value > (-math.inf if progress.best is None else sign * progress.best)
        if is_best:
            progress.best, progress.best_step, self._best_logits = value, step, logits
        named = {f"validation/{name}": float(number) for name, number in metrics.items()}
        decision = self._task.monitors.on_evaluate(step, {**named, "epoch": self._flow.epoch})
        self._decision = distributed.broadcast(max(decision, self._patience()))
        return is_best

    def _patience(self) -> Decision:
        has_stalled = self._extras.has_stalled(
            self._progress.objectives, maximize=self._args.greater_is_better
        )
        return Decision.STOP if has_stalled else Decision.CONTINUE

    def _save(self, step: int) -> None:
        self._fetch()
        own = {"random": random_state(), "window": (self._steps.window.cpu(), self._window_start)}
        states = distributed.gather(own)
        bound = bound_keys(self._args, self._extras)
        with self._saver.saving(step, self._needed_step, bound) as staging:
            if distributed.is_main():
                with without_card(self._task.model):
                    self._task.model.save_pretrained(staging)
                save_prompt(self._task.model, staging)
                torch.save(self._state(states), staging / STATE)

    @property
    def _needed_step(self) -> int | None:
        """The step of the best evaluation so far, if its checkpoint is needed at the end."""
        return self._progress.best_step if self._args.load_best_model_at_end else None

    def _state(self, processes: list[dict[str, Any]]) -> dict[str, Any]:
        scaler = self._accelerator.scaler
        return {
            "progress": asdict(self._progress),
            "optimizer": self._optimizer.state_dict(),
            "scheduler": self._scheduler.state_dict(),
            "scaler": scaler.state_dict() if scaler else None,
            "processes": processes,
            "ranks": self._ranks.state() if self._ranks else None,
        }

    def _restore(self, checkpoint: Path) -> None:
        """Go on exactly where a checkpoint was saved."""
        load_weights(self._task.model, checkpoint)
        state = torch.load(checkpoint / STATE, map_location="cpu", weights_only=True)
        checkpoints.check_processes(checkpoint, len(state["processes"]), distributed.world_size())
        self._progress = Position(**state["progress"])
        if checkpoint != self._task.start:  # the best one is in another run's folder
            self._progress = Position(self._progress.step)
        self._decision = self._patience()
        self._optimizer.load_state_dict(state["optimizer"])
        self._scheduler.load_state_dict(state["scheduler"])
        if self._accelerator.scaler is not None:
            self._accelerator.scaler.load_state_dict(state["scaler"])
        own = state["processes"][distributed.rank()]
        window, self._window_start = own["window"]
        self._steps.window.copy_(window)
        if self._ranks:
            self._ranks.restore(state["ranks"])
        set_random_state(own["random"])


def _make_accelerator(args: Any, *, caches_casts: bool) -> Accelerator:
    unused = bool(args.ddp_find_unused_parameters)
    dynamo = TorchDynamoPlugin(backend=args.torch_compile_backend, mode=args.torch_compile_mode)
    accelerator = Accelerator(
        mixed_precision=args.mixed_precision,
        kwargs_handlers=[
            DistributedDataParallelKwargs(find_unused_parameters=unused),
            AutocastKwargs(cache_enabled=caches_casts),
        ],
        dynamo_plugin=dynamo if args.torch_compile else None,
    )
    accelerator.sync_gradients = True  # an earlier run of this process may have ended in the middle of a step
    return accelerator
