"""One pass of a packed model for several trials: their steps' losses and gradients, or a split's logits."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from finesweep.models.packed import PackedModel, Seat
from finesweep.training import stacked_adamw
from finesweep.training.buckets import rounded
from finesweep.training.feeds import Padding
from finesweep.training.graphs import Call
from finesweep.training.stacked_adamw import StackedAdamW, rates_of
from finesweep.training.steps import Batch, Work
from finesweep.training.trays import Tray

# Shapes of micro-batches that are recorded: each takes memory, and a moment.
MOST_SHAPES = 8


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
        grad_norm: that its gradient had at the step, where the pack has updated the weights too.
        split: the rows that it wants the logits of.
        error: what went wrong with its own part of a pass.
    """

    work: Work
    seat: Seat
    padding: Padding
    batches: Sequence[Batch] = ()
    scale: float = 0.0
    grad_norm: Tensor | None = None
    split: Split | None = None
    error: Exception | None = None

    def __post_init__(self) -> None:
        self.is_stacked = stacked_adamw.is_stackable(self.work)
        if self.is_stacked:
            optimizer = stacked_adamw.optimizer_of(self.work)
            optimizer.step()  # without gradients it changes nothing; a schedule wants to have seen one
            self._hook = optimizer.register_state_dict_post_hook(stacked_adamw.state_apart)

    @property
    def loss(self) -> tuple[Any, ...]:
        """What a step's loss depends on, beside logits and labels."""
        return self.work.task.loss, self.work.args.label_smoothing_factor

    def leave(self) -> None:
        """Take the weights, the optimizer's state and the window out of the pack's memory."""
        self.seat.leave()
        self.work.window = self.work.window.clone()
        if self.is_stacked:
            self._hook.remove()
            stacked_adamw.leave(self.work)


class Bench:
    """Trials of one backbone, whose steps are computed in one pass.

    Args:
        model: the packed one.
        members: the trials; all of them have an AdamW, which updates all their weights at once, or none.
        record: makes of a step what does the same step again, from then on; None: steps aren't recorded, and
            there are no more slots than trials.
    """

    def __init__(
        self, model: PackedModel, members: list[Member], record: Callable[[Call], Call] | None = None
    ) -> None:
        self.model, self.members, self.record = model, members, record
        self.is_stacked = members[0].is_stacked
        self.slots: list[Member | None] = []  # whose weights lie in each of the stacks' rows
        self.is_updating = False  # it stays true where an update was cut off in the middle
        self._trays: dict[tuple[int, int], Tray] = {}
        self._calls: dict[tuple[int, int, bool], Call] = {}

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.members[0].work.accelerator.device

    def remove(self, member: Member) -> None:
        """Let a trial go, with its weights."""
        member.leave()
        self.members.remove(member)
        self.slots = [None if other is member else other for other in self.slots]

    def forget_recorded(self) -> None:
        """Do every step anew from here on, as memory allows."""
        self.record = None
        self._calls.clear()
        self._trays.clear()

    def do_step(self, members: list[Member]) -> None:
        """Do the step that each of these trials waits for, but for the update where they aren't stacked."""
        self._seat(members)
        windows = self._windows.clone()
        self._tell_numbers()
        count = max(len(member.batches) for member in members)
        try:
            for number in range(count):
                self._run(number, is_last=number == count - 1)
        except torch.OutOfMemoryError:
            if not self.is_updating:
                self._windows.copy_(windows)
                self.model.stacks.gradients.zero_()
            raise
        if self._optimizer:
            norms = self._optimizer.norms.clone()
            for slot, member in enumerate(self.slots):
                if member is not None:
                    member.grad_norm = norms[slot]

    def evaluate(self, members: list[Member]) -> None:
        """Answer trials that want the logits of the same rows: each batch is read once for all of them."""
        self.model.model.eval()
        work, splits = members[0].work, [member.split for member in members if member.split]
        found = []
        slots = [self.slots.index(member) for member in members]
        with torch.no_grad(), self.model.only(slots), work.accelerator.autocast():
            for batch in splits[0].batches:
                inputs = {name: values.to(self.device) for name, values in batch.items()}
                logits = self.model.model(**repeated(inputs, len(members))).logits
                found.append(logits.view(len(members), -1, *logits.shape[1:]))
        for slot, split in enumerate(splits):
            split.logits = [batch[slot] for batch in found]

    def _seat(self, members: list[Member]) -> None:
        """See that these trials lie in the stacks and no others do, newcomers in free slots if there are."""
        newcomers = [member for member in members if member not in self.slots]
        free = [slot for slot, member in enumerate(self.slots) if member not in members]
        stays = not free or (self.record is not None and 2 * len(members) > len(self.slots))
        if not stays or len(newcomers) > len(free) or not all(map(self._has_room_for, newcomers)):
            self._lay_out(members)
            return
        for slot, member in zip(free, newcomers, strict=False):
            if self._losses[slot] != member.loss:  # which is part of what was recorded
                self._calls.clear()
            self.model.put(slot, member.seat)
            self._take(slot, member)

    def _has_room_for(self, member: Member) -> bool:
        groups = len(member.work.optimizer.param_groups)
        return groups < self._numbers.shape[1] and self.model.has_room_for(member.seat)

    def _lay_out(self, members: list[Member]) -> None:
        self._calls.clear()
        self._trays.clear()
        self.slots = [None] * len(members)
        self._losses = [member.loss for member in members]
        stacks = self.model.seat([member.seat for member in members], len(members))
        self._windows = torch.stack([member.work.window for member in members])
        self._optimizer = StackedAdamW(stacks) if self.is_stacked else None
        groups = max(len(member.work.optimizer.param_groups) for member in members)
        # Of each slot the loss's scale, and the learning rates of its groups.
        self._numbers = torch.zeros((len(members), 1 + groups), dtype=torch.float64, device=self.device)
        for slot, member in enumerate(members):
            self._take(slot, member)

    def _take(self, slot: int, member: Member) -> None:
        """Give a trial whose weights lie in a slot already the rest of what belongs to it."""
        self.slots[slot], self._losses[slot] = member, member.loss
        if self._optimizer:
            self._optimizer.put(slot, member.seat.places, member.work)
        self._windows[slot].copy_(member.work.window)
        member.work.window = self._windows[slot]

    def _tell_numbers(self) -> None:
        works = [member.work if member else None for member in self.slots]
        rates = rates_of(works, self._numbers.shape[1] - 1)
        scales = [[member.scale if member else 0.0] for member in self.slots]
        numbers = torch.cat([torch.tensor(scales, dtype=torch.float64), rates], dim=1)
        if self.device.type == "cuda":
            numbers = numbers.pin_memory()
        self._numbers.copy_(numbers, non_blocking=True)

    def _run(self, number: int, *, is_last: bool) -> None:
        """Do the micro-batches of this number, and with the last ones the update."""
        batches = [
            member.batches[number] if member and number < len(member.batches) else None
            for member in self.slots
        ]
        given = [batch for batch in batches if batch is not None]
        rows, length = (max(batch["input_ids"].shape[dim] for batch in given) for dim in (0, 1))
        if self.record:
            rows = max(rows, *(m.work.args.per_device_train_batch_size for m in self.members))
            length = rounded(length)
        if (rows, length) not in self._trays:
            padding = self.members[0].padding
            self._trays[rows, length] = Tray(padding, given[0], len(batches), rows, length, self.device)
        self._trays[rows, length].load(batches)
        self._call(rows, length, is_last=is_last)()

    def _call(self, rows: int, length: int, *, is_last: bool) -> Call:
        shape = rows, length, is_last
        work = partial(self._work_on, self._trays[rows, length], is_last=is_last)
        if self.record is None or (shape not in self._calls and len(self._calls) >= MOST_SHAPES):
            return work
        if shape not in self._calls:
            self._calls[shape] = self.record(work)
        return self._calls[shape]

    def _work_on(self, tray: Tray, *, is_last: bool) -> None:
        """Do micro-batches' work, and with a step's last ones the update: what is recorded."""
        self._accumulate(tray)
        if is_last and self._optimizer:
            self.is_updating = True
            self._optimizer.update(self._numbers[:, 1:])
            self.is_updating = False

    def _accumulate(self, tray: Tray) -> None:
        """Add each trial's gradient to what it has, and its loss to its window."""
        inputs = {name: values.flatten(0, 1) for name, values in tray.columns.items() if name != "labels"}
        labels = tray.columns["labels"]
        self.model.model.train()
        with self.members[0].work.accelerator.autocast():
            logits = self.model.model(**inputs).logits
        logits = logits.view(len(labels), -1, *logits.shape[1:])
        losses = self._slot_losses(logits, labels, tray)
        self._windows += losses.detach()
        if losses.requires_grad:
            self.model.stacks.add_gradient(losses.sum())

    def _slot_losses(self, logits: Tensor, labels: Tensor, tray: Tray) -> Tensor:
        """Return each slot's share of its step's loss, (slots,): at once where all have the same loss."""
        (loss, smoothing), *others = self._losses
        if loss.own is None and all(other == (loss, smoothing) for other in others):
            return loss.of_slots(logits, labels, smoothing) * self._numbers[:, 0]
        return torch.stack([self._loss(slot, logits, labels, tray) for slot in range(len(labels))])

    def _loss(self, slot: int, logits: Tensor, labels: Tensor, tray: Tray) -> Tensor:
        """Return a slot's share of its step's loss; 0 where it has no rows, or its own loss fails."""
        (loss, smoothing), scale = self._losses[slot], self._numbers[slot, 0]
        if self.record:  # for whoever has the slot at a replay; rows without labels add 0
            return loss(logits[slot], labels[slot], smoothing) * scale
        member = self.slots[slot]
        if member is None or member.error or not tray.is_given[slot]:
            return torch.zeros_like(scale)
        try:
            return loss(logits[slot], labels[slot], smoothing) * scale
        except Exception as error:  # a loss of the user's own: that trial's failure alone
            member.error = error
            return torch.zeros_like(scale)


def repeated(inputs: dict[str, Tensor], times: int) -> dict[str, Tensor]:
    """Return what a model reads of a batch, the same rows once for each slot."""
    return {
        name: values.repeat(times, *[1] * (values.dim() - 1))
        for name, values in inputs.items()
        if name != "labels"
    }
