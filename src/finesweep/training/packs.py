"""Trials that train together: each in a fiber of its own, whose steps one packed model computes.

A trial runs the code that it would run alone, up to the moment when it wants an optimizer step. There it
hands in its batches and waits. When all have arrived, one pass of the packed model gives each its loss and
its gradient, and each goes on: its own clipping, optimizer, schedule, evaluation, checkpoints, monitors.
Control changes hands there and nowhere else, so that a trial shares nothing but the process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any

import torch
from greenlet import getcurrent, greenlet
from torch import Tensor

from finesweep.errors import Interrupted
from finesweep.models.packed import PackedModel, Seat, reason_against
from finesweep.system.randomness import random_state, set_random_state
from finesweep.training.base import PACKED
from finesweep.training.batches import TrainLoader
from finesweep.training.feeds import Padding
from finesweep.training.losses import count_labels
from finesweep.training.steps import Work

logger = logging.getLogger(__name__)

Batch = dict[str, Tensor]


@dataclass
class Member:
    """A trial in a pack, and what it waits for.

    Args:
        work: what a step of it does.
        seat: its parameters.
        batches: the micro-batches of the step that it wants.
        scale: 1 / labels of that step.
        error: what went wrong with its part of the step.
    """

    work: Work
    seat: Seat
    batches: Sequence[Batch] = ()
    scale: float = 0.0
    error: BaseException | None = None


class Pack:
    """Computes the steps of several trials at once.

    Args:
        slots: how many trials it has room for.
        seed: of its dropout masks.
    """

    def __init__(self, slots: int, seed: int = 0) -> None:
        self.slots = slots
        self._members: list[Member] = []
        self._seated: list[Member] = []
        self._packed: PackedModel | None = None
        self._precision = ""
        self._random = torch.Generator().manual_seed(seed).get_state()

    def reason_against(self, work: Work, ranks: Any) -> str:
        """Say why a trial can't train here, or nothing where it can."""
        accelerator = work.accelerator
        others = [member.work.accelerator.mixed_precision for member in self._members]
        reasons = {
            "fp16 decides after each step whether it counts": accelerator.scaler is not None,
            "AdaLoRA changes its ranks between steps": ranks is not None,
            "another precision is in use": bool(others) and others[0] != accelerator.mixed_precision,
            "it has speed-ups of its own": any(name != PACKED for name in work.task.speedups),
        }
        reason = next((reason for reason, holds in reasons.items() if holds), "")
        return reason or reason_against(work.task.model)

    def join(self, work: Work) -> PackedSteps:
        """Return what does the steps of a trial here."""
        return PackedSteps(self, Member(work, Seat(work.task.model)))

    def add(self, member: Member) -> None:
        """Take a trial in."""
        model = member.work.task.model
        if self._packed is None:
            self._packed = PackedModel(model)
        else:
            self._packed.share_frozen(model)
        self._members.append(member)

    def remove(self, member: Member) -> None:
        """Let a trial go, with its weights."""
        if member in self._members:
            self._members.remove(member)
            member.seat.leave()

    def compute(self) -> None:
        """Give every trial that waits the loss and the gradient of its step."""
        waiting = [member for member in self._members if member.batches]
        if not waiting:
            return
        if waiting != self._seated:
            assert self._packed is not None
            self._packed.seat([member.seat for member in waiting])
            self._seated = waiting
        own = random_state()
        torch.set_rng_state(self._random)
        try:
            for number in range(max(len(member.batches) for member in waiting)):
                self._accumulate(waiting, number)
        finally:
            self._random = torch.get_rng_state()
            set_random_state(own)
        for member in waiting:
            member.batches = ()

    def _accumulate(self, members: Sequence[Member], number: int) -> None:
        """Add each trial's micro-batch of this number to its gradient, and its loss to its window."""
        assert self._packed is not None
        batches = [
            member.batches[number] if number < len(member.batches) else None for member in members
        ]
        given = [batch for batch in batches if batch is not None]
        rows, length = (max(batch["input_ids"].shape[dim] for batch in given) for dim in (0, 1))
        padded = []
        for member, batch in zip(members, batches, strict=True):
            padding = Padding(member.work.task, member.work.task.model.config.pad_token_id or 0)
            padded.append(padding.padded(given[0] if batch is None else batch, rows, length))
        device = members[0].work.accelerator.device
        inputs = {
            name: torch.cat([batch[name] for batch in padded]).to(device, non_blocking=True)
            for name in padded[0]
            if name != "labels"
        }
        model = self._packed.model.train()
        with members[0].work.accelerator.autocast():
            logits = model(**inputs).logits
        logits = logits.view(len(members), rows, *logits.shape[1:])
        losses = []
        for slot, (member, batch) in enumerate(zip(members, padded, strict=True)):
            if batches[slot] is None:
                continue
            losses.append(member.work.loss(logits[slot], batch["labels"].to(device), member.scale))
            member.work.window += losses[-1].detach()
        torch.stack(losses).sum().backward()


class PackedSteps:
    """A trial's steps, computed in a pack.

    Args:
        pack: computes them.
        member: the trial.
    """

    def __init__(self, pack: Pack, member: Member) -> None:
        self._pack, self._member = pack, member
        self.window = member.work.window

    def batches(self, loader: TrainLoader) -> Iterable[Batch]:
        """Return an epoch's padded micro-batches."""
        return loader

    def do(self, microbatches: Sequence[Batch], number: int) -> Tensor:
        """Do optimizer step `number`, and return the norm that the gradient had."""
        member, work = self._member, self._member.work
        if member not in self._pack._members:
            self._pack.add(member)
        member.batches = microbatches
        member.scale = 1 / max(sum(count_labels(batch["labels"]) for batch in microbatches), 1)
        wait_for_others()
        grad_norm = work.update()
        work.optimizer.zero_grad(set_to_none=False)
        return grad_norm

    def close(self) -> None:
        """Leave the pack."""
        self._pack.remove(self._member)


def wait_for_others() -> None:
    """Hand control to whoever runs the fibers."""
    hub = getcurrent().parent
    assert hub is not None
    hub.switch()


def run_together(next_job: Callable[[], Callable[[], None] | None], pack: Pack) -> None:
    """Run jobs in fibers, at most as many at a time as the pack has slots, until there are none left.

    Args:
        next_job: returns the next one, or None where there is none now.
        pack: computes their steps.

    Raises:
        BaseException: the first that a job ended with, once all have ended.
    """
    fibers: list[greenlet] = []
    failure: BaseException | None = None
    while True:
        while failure is None and len(fibers) < pack.slots and (job := next_job()):
            fiber = greenlet(job)
            fiber.gr_context = copy_context()
            fibers.append(fiber)
            failure = _resume(fiber) or failure
            fibers = [fiber for fiber in fibers if not fiber.dead]
        if not fibers:
            break
        pack.compute()
        for fiber in fibers:
            failure = _resume(fiber) or failure
        fibers = [fiber for fiber in fibers if not fiber.dead]
    if failure:
        raise failure


def _resume(fiber: greenlet) -> BaseException | None:
    try:
        fiber.switch()
    except BaseException as error:
        return error
    return None
