"""One pass of a packed model for several trials: their steps' losses and gradients, or a split's logits."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from finesweep.models.packed import PackedModel, Seat
from finesweep.training.feeds import Padding
from finesweep.training.steps import Batch, Work


@dataclass(eq=False)
class Split:
    """Rows whose logits a trial waits for.

    Args:
        key: equal for equal rows in equal batches.
        batches: of the rows.
        logits: of each batch; None where they were not computed together with those of others.
    """

    key: Hashable
    batches: Iterable[Batch]
    logits: list[Tensor] | None = None


@dataclass(eq=False)
class Member:
    """A trial in a pack, and what it waits for.

    Args:
        work: what a step of it does.
        seat: its parameters.
        padding: fills up its batches.
        batches: the micro-batches of the step that it wants; none while it wants no step.
        scale: 1 / labels of that step.
        split: the rows that it wants the logits of.
        error: what went wrong with its own part of a pass.
    """

    work: Work
    seat: Seat
    padding: Padding
    batches: Sequence[Batch] = ()
    scale: float = 0.0
    split: Split | None = None
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

    def seat(self, members: list[Member]) -> None:
        """Lay out the parameters of these trials in stacks, where they don't lie there already."""
        if members != self.seated:
            self.model.seat([member.seat for member in members])
            self.seated = members


def do_step(bench: Bench, members: list[Member]) -> None:
    """Add the gradient of each trial's step to it, and the loss to its window."""
    bench.seat(members)
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


def evaluate(bench: Bench, members: list[Member]) -> None:
    """Answer trials that want the logits of the same rows: each batch is read once for all of them."""
    bench.seat(members)
    bench.model.model.eval()
    work, splits = members[0].work, [member.split for member in members if member.split]
    found = []
    with torch.no_grad(), work.accelerator.autocast():
        for batch in splits[0].batches:
            inputs = {name: values.to(work.accelerator.device) for name, values in batch.items()}
            logits = bench.model.model(**repeated(inputs, len(members))).logits
            found.append(logits.view(len(members), -1, *logits.shape[1:]))
    for slot, split in enumerate(splits):
        split.logits = [batch[slot] for batch in found]


def repeated(inputs: dict[str, Tensor], times: int) -> dict[str, Tensor]:
    """Return what a model reads of a batch, the same rows once for each slot."""
    return {
        name: values.repeat(times, *[1] * (values.dim() - 1))
        for name, values in inputs.items()
        if name != "labels"
    }
