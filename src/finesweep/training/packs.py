"""Trials that train together: one pass of a packed model gives each the loss and the gradient of its step.

A trial runs the code that it would run alone, in a fiber of its own (sweeps/fibers.py), up to the moment when
it wants an optimizer step. There it hands in its batches and waits. When all have arrived, one pass computes
them, and each goes on: its own clipping, optimizer, schedule, evaluation, checkpoints, monitors. Control
changes hands there and nowhere else, so that what a trial does between two steps needs no care for others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from finesweep.models import packed
from finesweep.models.packed import PackedModel, Seat
from finesweep.system.randomness import random_state, random_state_of, set_random_state
from finesweep.training.batches import TrainLoader
from finesweep.training.feeds import Padding
from finesweep.training.losses import count_labels
from finesweep.training.native import KEYS
from finesweep.training.steps import Work

logger = logging.getLogger(__name__)

Batch = dict[str, Tensor]

# Values of a trainer's keys with which a trial trains alone, and why.
ALONE = {
    "fp16": "fp16 decides after each step whether it counts",
    "torch_compile": "torch_compile records steps itself",
    "activation_checkpointing": "activation checkpointing computes parts of a step twice",
    "gradient_checkpointing": "gradient checkpointing computes parts of a step twice",
}


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


@dataclass(eq=False)
class Member:
    """A trial in a pack, and what it waits for.

    Args:
        work: what a step of it does.
        seat: its parameters.
        padding: fills up its batches.
        batches: the micro-batches of the step that it wants; none while it wants no step.
        scale: 1 / labels of that step.
        error: what went wrong with its own part of the step.
    """

    work: Work
    seat: Seat
    padding: Padding
    batches: Sequence[Batch] = ()
    scale: float = 0.0
    error: Exception | None = None


@dataclass(eq=False)
class Bench:
    """Trials of one backbone, whose steps are computed in one pass.

    Args:
        model: the packed one.
        members: who sits in it.
        seated: those whose parameters lie in its stacks.
    """

    model: PackedModel
    members: list[Member] = field(default_factory=list)
    seated: list[Member] = field(default_factory=list)


class Pack:
    """Computes the steps of several trials at once.

    Args:
        slots: how many trials it has room for.
        wait: gives control to whoever runs the other trials, until `compute` was called.
        seed: of the dropout masks.
    """

    def __init__(self, slots: int, wait: Callable[[], None], seed: int = 0) -> None:
        self.slots, self.wait = slots, wait
        self._benches: dict[tuple[Any, ...], list[Bench]] = {}
        self._most = slots  # trials in one pass, as memory allows
        self._random = random_state_of(seed)

    def join(self, work: Work) -> PackedSteps:
        """Return what does the steps of a trial here."""
        return PackedSteps(self, work)

    def add(self, work: Work) -> Member:
        """Take a trial in, with the weights that it has now."""
        task = work.task
        precision = work.accelerator.mixed_precision, work.args.tf32
        key = task.weights, precision, frozenset(task.train.column_names), *packed.likeness(task.model)
        benches = self._benches.setdefault(key, [])
        bench = next((bench for bench in benches if len(bench.members) < self._most), None)
        if bench is None:
            bench = Bench(PackedModel(task.model, task.initial))
            benches.append(bench)
        else:
            bench.model.share_frozen(task.model, task.initial)
        padding = Padding(task, task.model.config.pad_token_id or 0)
        member = Member(work, Seat(task.model, task.initial), padding)
        bench.members.append(member)
        return member

    def remove(self, member: Member) -> None:
        """Let a trial go, with its weights."""
        member.seat.leave()
        for benches in self._benches.values():
            for bench in benches:
                if member in bench.members:
                    bench.members.remove(member)

    def compute(self) -> None:
        """Give every trial that waits the loss and the gradient of its step."""
        with self._own_randomness():
            for benches in self._benches.values():
                for bench in list(benches):
                    self._compute(bench, benches)

    def _compute(self, bench: Bench, benches: list[Bench]) -> None:
        waiting = [member for member in bench.members if member.batches]
        if not waiting:
            return
        try:
            _do_step(bench, waiting)
        except torch.OutOfMemoryError as error:
            if len(waiting) > 1:
                self._halve(bench, benches, len(waiting) // 2)
                return
            waiting[0].error = error
        except Exception as error:  # whose fault it is can't be told
            for member in waiting:
                member.error = error
        for member in waiting:
            member.batches = ()

    def _halve(self, bench: Bench, benches: list[Bench], most: int) -> None:
        """Deal a bench's trials out to several, of `most` each, and compute these one after the other."""
        self._most = most
        logger.warning("packed     there is too little memory: %d trials in a pass from here on", most)
        benches.remove(bench)
        for start in range(0, len(bench.members), most):
            members = bench.members[start : start + most]
            first = members[0].work.task
            benches.append(Bench(PackedModel(first.model, first.initial), members))
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


def _do_step(bench: Bench, members: list[Member]) -> None:
    if members != bench.seated:
        bench.model.seat([member.seat for member in members])
        bench.seated = members
    windows = [member.work.window.clone() for member in members]
    try:
        for number in range(max(len(member.batches) for member in members)):
            _accumulate(bench.model.model, members, number)
    except torch.OutOfMemoryError:
        for member, window in zip(members, windows, strict=True):
            member.work.window.copy_(window)
            member.seat.forget_gradient()
        raise


def _accumulate(model: Any, members: Sequence[Member], number: int) -> None:
    """Add each trial's micro-batch of this number to its gradient, and its loss to its window."""
    device = members[0].work.accelerator.device
    own = [member.batches[number] if number < len(member.batches) else None for member in members]
    given = [batch for batch in own if batch is not None]
    rows, length = (max(batch["input_ids"].shape[dim] for batch in given) for dim in (0, 1))
    padded = [
        member.padding.padded(given[0] if batch is None else batch, rows, length)
        for member, batch in zip(members, own, strict=True)
    ]
    inputs = {
        name: torch.cat([batch[name] for batch in padded]).to(device, non_blocking=True)
        for name in padded[0]
        if name != "labels"
    }
    model.train()
    with members[0].work.accelerator.autocast():
        logits = model(**inputs).logits
    logits = logits.view(len(members), rows, *logits.shape[1:])
    losses = []
    for slot, member in enumerate(members):
        if own[slot] is None or member.error:
            continue
        try:
            labels = padded[slot]["labels"].to(device, non_blocking=True)
            loss = member.work.loss(logits[slot], labels, member.scale)
        except Exception as error:  # a loss of the user's own: that trial's failure alone
            member.error = error
            continue
        losses.append(loss)
        member.work.window += loss.detach()
    if losses:
        torch.stack(losses).sum().backward()


class PackedSteps:
    """A trial's steps, computed in a pack.

    Args:
        pack: computes them.
        work: what a step does.
    """

    def __init__(self, pack: Pack, work: Work) -> None:
        self._pack, self._work = pack, work
        self._member: Member | None = None
        self.window = work.window

    def batches(self, loader: TrainLoader) -> Iterable[Batch]:
        """Return an epoch's padded micro-batches."""
        return loader

    def do(self, microbatches: Sequence[Batch], number: int) -> Tensor:
        """Do optimizer step `number`, and return the norm that the gradient had."""
        if self._member is None:  # at the first step: a checkpoint's weights are in place by now
            self._member = self._pack.add(self._work)
        member, work = self._member, self._work
        member.batches = microbatches
        member.scale = 1 / max(sum(count_labels(batch["labels"]) for batch in microbatches), 1)
        self._pack.wait()
        error, member.error = member.error, None
        if error:
            raise error
        grad_norm = work.update()
        work.optimizer.zero_grad(set_to_none=False)
        return grad_norm

    def close(self) -> None:
        """Leave the pack."""
        if self._member is not None:
            self._pack.remove(self._member)
            self._member = None
