"""Trials that train together: one pass of a packed model gives each the loss and the gradient of its step.

A trial runs the code that it would run alone, in a fiber of its own (sweeps/fibers.py), up to the moment when
it wants an optimizer step. There it hands in its batches and waits. When all have arrived, one pass computes
them, and each goes on: its own clipping, optimizer, schedule, metrics, checkpoints, monitors. It waits in the
same way for the logits of an evaluation, which go first: who has them wants a step next, as the others do.
Control changes hands there and nowhere else, so that what a trial does in between needs no care for others.

Where all have an AdamW, clipping and optimizer belong to the pass, and on a GPU it is one CUDA graph.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from finesweep.models import packed
from finesweep.models.masked_attention import mask_always
from finesweep.models.packed import PackedModel, Seat
from finesweep.system.randomness import random_state, random_state_of, set_random_state
from finesweep.training.batches import TrainLoader, digest_of
from finesweep.training.feeds import Gathered, Padding, gathered
from finesweep.training.graphs import Call, CudaRecorder
from finesweep.training.losses import count_labels
from finesweep.training.native import KEYS
from finesweep.training.outputs import Outputs
from finesweep.training.passes import Bench, Member, Split
from finesweep.training.steps import Batch, Work

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

Recorder = Callable[[torch.device], Callable[[Call], Call] | None]

# Values of a trainer's keys with which a trial trains alone, and why.
ALONE = {
    "fp16": "fp16 decides after each step whether it counts",
    "torch_compile": "torch_compile records steps itself",
    "activation_checkpointing": "activation checkpointing computes parts of a step twice",
    "gradient_checkpointing": "gradient checkpointing computes parts of a step twice",
}


def recorder_on(device: torch.device) -> CudaRecorder | None:
    """Return what records steps on a GPU; None on a CPU."""
    return CudaRecorder(device) if device.type == "cuda" else None


def reason_against(model: Any, trainer: Mapping[str, Any]) -> str:
    """Say why a trial trains alone, or nothing where it can be packed.

    Args:
        model: prepared to train.
        trainer: its config.
    """
    own = [key for key in trainer if key not in KEYS and not key.startswith("_")]
    if own:
        return f"trainer=native, which computes packed steps, has no key {own[0]}"
    reason = next((reason for key, reason in ALONE.items() if trainer.get(key)), "")
    return reason or packed.reason_against(model)


class Pack:
    """Computes the steps of several trials at once.

    Args:
        slots: how many trials it has room for.
        wait: gives control to whoever runs the other trials, until `compute` was called.
        seed: of the dropout masks.
        recorder: returns what records the steps on a device; None where they stay as they are.
    """

    def __init__(
        self, slots: int, wait: Callable[[], None], seed: int = 0, recorder: Recorder | None = None
    ) -> None:
        self.slots, self.wait = slots, wait
        self._recorder = recorder or recorder_on
        self._benches: dict[tuple[Any, ...], list[Bench]] = {}
        self._most = slots  # trials in one pass, as memory allows
        self._random = random_state_of(seed)
        self._common: dict[str, Any] = {}

    def join(self, work: Work) -> PackedSteps:
        """Return what does the steps of a trial here."""
        return PackedSteps(self, work)

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """Return what its trials have in common: training/base.py."""
        text = json.dumps(key, sort_keys=True, default=str)
        if text not in self._common:
            self._common[text] = make()
        return self._common[text]

    def add(self, work: Work) -> Member:
        """Take a trial in, with the weights that it has now."""
        task = work.task
        padding = Padding(task, task.model.config.pad_token_id or 0)
        member = Member(work, Seat(task.model, task.initial), padding)
        can_record = member.is_stacked and task.loss.own is None
        precision = work.accelerator.mixed_precision, work.args.tf32
        kind = can_record, member.is_stacked, precision, frozenset(task.train.column_names)
        benches = self._benches.setdefault((task.weights, *kind, *packed.likeness(task.model)), [])
        bench = next((bench for bench in benches if len(bench.members) < self._most), None)
        if bench is None:
            benches.append(self._bench([member], can_record=can_record))
        else:
            bench.model.share_frozen(task.model, task.initial)
            bench.members.append(member)
        return member

    def _bench(self, members: list[Member], *, can_record: bool) -> Bench:
        work = members[0].work
        model = PackedModel(work.task.model, work.task.initial)
        record = self._recorder(work.accelerator.device) if can_record else None
        if record:
            mask_always(model.model)
        return Bench(model, members, record)

    def split_of(self, work: Work, loader: TrainLoader) -> Gathered | None:
        """Return a trial's training split, padded once for all that have it; None where it isn't kept."""
        accumulation = work.args.gradient_accumulation_steps
        if 0 < work.args.max_steps * accumulation < len(loader) or work.args.num_train_epochs < 1:
            return None  # much of it is never read
        key = ["split", digest_of(work.task.train)]
        return self.once(key, lambda: gathered(work.task, loader.batch_sampler))

    def remove(self, member: Member) -> None:
        """Let a trial go, with its weights."""
        for benches in self._benches.values():
            for bench in benches:
                if member in bench.members:
                    bench.remove(member)

    def compute(self) -> None:
        """Give the trials that wait what they wait for: logits where any wants them, else all their steps."""
        benches = [bench for benches in self._benches.values() for bench in benches]
        asking = [bench for bench in benches if any(member.split for member in bench.members)]
        for bench in asking:
            _evaluate(bench)
        if asking:
            return
        with self._own_randomness():
            for alike in self._benches.values():
                for bench in list(alike):
                    self._compute(bench, alike)

    def _compute(self, bench: Bench, benches: list[Bench]) -> None:
        waiting = [member for member in bench.members if member.batches]
        if not waiting:
            return
        try:
            bench.do_step(waiting)
        except torch.OutOfMemoryError as error:
            if len(waiting) > 1 and not bench.is_updating:
                self._halve(bench, benches, len(waiting) // 2)
                return
            bench.forget_recorded()
            _fail(bench, waiting, error)
        except Exception as error:  # whose fault it is can't be told
            _fail(bench, waiting, error)
        for member in waiting:
            member.batches = ()

    def _halve(self, bench: Bench, benches: list[Bench], most: int) -> None:
        """Deal a bench's trials out to several, of `most` each, and compute these one after the other."""
        self._most = most
        logger.warning("packed     there is too little memory: %d trials in a pass from here on", most)
        benches.remove(bench)
        can_record = bench.record is not None
        for start in range(0, len(bench.members), most):
            benches.append(self._bench(bench.members[start : start + most], can_record=can_record))
            self._compute(benches[-1], benches)

    @contextmanager
    def _own_randomness(self) -> Iterator[None]:
        """Draw dropout masks from the pack's own numbers, wherever its trials are in theirs."""
        theirs = random_state()
        set_random_state(self._random)
        try:
            yield
        finally:
            self._random = random_state()
            set_random_state(theirs)


def _evaluate(bench: Bench) -> None:
    """Answer those who want the logits of the same rows at once; who is the only one computes them itself."""
    asking: dict[Any, list[Member]] = {}
    for member in bench.members:
        if member.split:
            asking.setdefault(member.split.key, []).append(member)
    for members in asking.values():
        try:
            if len(members) > 1:
                bench.evaluate(members)
        except torch.OutOfMemoryError:
            logger.warning(
                "packed     there is too little memory to evaluate %d trials at once", len(members)
            )
        except Exception as error:  # whose fault it is can't be told
            for member in members:
                member.error = error
        for member in members:
            member.split = None


def _fail(bench: Bench, members: Sequence[Member], error: Exception) -> None:
    """Let a step have failed for all of these."""
    for member in members:
        member.error = error
        member.work.is_updating = bench.is_updating


def _raise_once(member: Member) -> None:
    error, member.error = member.error, None
    if error:
        raise error


class PackedSteps:
    """A trial's steps, computed in a pack.

    Args:
        pack: computes them.
        work: what a step does.
    """

    def __init__(self, pack: Pack, work: Work) -> None:
        self._pack, self._work = pack, work
        self._member: Member | None = None
        self._rows: Dataset | None = None
        self._split: Gathered | None = None
        self._has_looked = False
        self._outputs = Outputs(work.args.per_device_eval_batch_size)

    @property
    def window(self) -> Tensor:
        """The sum of the losses since it was last emptied."""
        return self._work.window

    def batches(self, loader: TrainLoader) -> Iterable[Batch]:
        """Return an epoch's padded micro-batches."""
        if not self._has_looked:
            self._has_looked, self._split = True, self._pack.split_of(self._work, loader)
        return loader if self._split is None else self._split.batches(loader.batch_sampler)

    def do(self, microbatches: Sequence[Batch], number: int) -> Tensor:
        """Do optimizer step `number`, and return the norm that the gradient had."""
        work = self._work
        if self._member is None:  # at the first step: a checkpoint's weights are in place by now
            self._member = self._pack.add(work)
        member = self._member
        member.batches = microbatches
        member.scale = 1 / max(sum(count_labels(batch["labels"]) for batch in microbatches), 1)
        while member.batches:
            self._pack.wait()
        _raise_once(member)
        if member.grad_norm is not None:
            return member.grad_norm
        grad_norm = work.update()
        work.optimizer.zero_grad(set_to_none=False)
        return grad_norm

    def logits(self, rows: Dataset, batches: Iterable[Batch]) -> list[Tensor]:
        """Return the logits of each batch of some rows, at once with the trials that want the same."""
        member, work = self._member, self._work
        if rows is not self._rows:
            self._rows, self._digest = rows, digest_of(rows)
        split = Split((self._digest, work.args.per_device_eval_batch_size), batches)
        if member is not None:
            member.split = split
            while member.split:
                self._pack.wait()
            _raise_once(member)
        return split.logits or self._outputs.of(work.task.model, batches, work.accelerator.device)

    def close(self) -> None:
        """Leave the pack."""
        if self._member is not None:
            self._pack.remove(self._member)
            self._member = None
