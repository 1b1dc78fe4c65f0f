"""AdamW for all trials of a pack at once: their weights, gradients and moments are rows of matrices.

The arithmetic is that of `torch.optim.AdamW` (Loshchilov and Hutter 2019, arXiv:1711.05101), with each row's
own rates, decay, step and clipping. Each trial keeps its optimizer, whose state are views of its rows: its
schedule sets the rates there, and its checkpoints hold what they would alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from finesweep.models.stacks import Stacks, Trial
from finesweep.training.steps import Work

MOMENTS = ("exp_avg", "exp_avg_sq")
# What torch.nn.utils.clip_grad_norm_ adds to a norm before it divides by it.
TINY = 1e-6


def optimizer_of(work: Work) -> Optimizer:
    """Return a trial's optimizer without what accelerate has put around it."""
    return getattr(work.optimizer, "optimizer", work.optimizer)


def is_stackable(work: Work) -> bool:
    """Say whether a trial's optimizer is an AdamW whose arithmetic is the one here."""
    optimizer = optimizer_of(work)
    groups = optimizer.param_groups
    return type(optimizer) is AdamW and not any(group["amsgrad"] or group["maximize"] for group in groups)


class StackedAdamW:
    """Update the rows of all slots.

    Args:
        stacks: the weights and gradients.
    """

    def __init__(self, stacks: Stacks) -> None:
        self._stacks = stacks
        slots, device = len(stacks.weights), stacks.weights.device
        self._moments = {name: torch.zeros_like(stacks.weights) for name in MOMENTS}
        self._steps = torch.zeros(slots, device=device)
        self.norms = torch.zeros(slots, dtype=stacks.weights.dtype, device=device)
        # Of each slot, in 64 bits as Python's numbers are: what doesn't change while one trial has it.
        self._limits, self._beta1, self._beta2, self._eps = (
            torch.full((slots, 1), value, dtype=torch.float64, device=device)
            for value in (math.inf, 0.9, 0.999, 1e-8)
        )
        # Of each slot and place.
        self._groups = torch.zeros((slots, len(stacks.shapes)), dtype=torch.long, device=device)
        self._decays = torch.zeros((slots, len(stacks.shapes)), dtype=torch.float64, device=device)

    def put(self, slot: int, trial: Trial, work: Work) -> None:
        """Take over a trial's state, or begin one, in a row; its parameters lie there already."""
        optimizer = optimizer_of(work)
        groups = optimizer.param_groups
        group_of = {id(weight): n for n, group in enumerate(groups) for weight in group["params"]}
        for moments in self._moments.values():
            moments[slot].zero_()
        numbers, done = [0] * len(self._stacks.shapes), 0
        for number, place in enumerate(self._stacks.shapes):
            if place not in trial:
                continue
            numbers[number] = group_of[id(trial[place])]
            state = optimizer.state[trial[place]]
            for name, moments in self._moments.items():
                view = self._stacks.part(moments, slot, place, trial[place])
                if name in state:
                    view.copy_(state[name])
                state[name] = view
            done = state.get("step", done)
        self._steps[slot] = done  # once: 40 places of 24 trials took a crowded GPU five seconds
        for weight in trial.values():
            optimizer.state[weight]["step"] = self._steps[slot]
        first = groups[0]
        beta1, beta2 = first["betas"]
        self._limits[slot] = work.args.max_grad_norm or math.inf
        self._beta1[slot], self._beta2[slot], self._eps[slot] = beta1, beta2, first["eps"]
        self._groups[slot] = torch.tensor(numbers)
        self._decays[slot] = torch.tensor([groups[number]["weight_decay"] for number in numbers]).double()

    def update(self, rates: Tensor) -> None:
        """Clip each row's gradient, let it change the weights, and empty it; `norms` are those before.

        Args:
            rates: of shape (slots, groups), in 64 bits; 0 for a slot that nobody has.
        """
        weights, gradients = self._stacks.weights, self._stacks.gradients
        mean, square = self._moments.values()
        kind = weights.dtype
        torch.linalg.vector_norm(gradients, dim=1, out=self.norms)
        clipped = (self._limits / (self.norms.double().unsqueeze(1) + TINY)).clamp(max=1)
        gradients.mul_(clipped.to(kind))
        self._steps += 1
        step = self._steps.double().unsqueeze(1)
        of_places = rates.gather(1, self._groups)
        shrink = (1 - of_places * self._decays).to(kind)
        size = (-of_places / (1 - self._beta1**step)).to(kind)
        spread = (1 - self._beta2**step).sqrt().to(kind)
        columns = self._stacks.columns
        weights.mul_(shrink.index_select(1, columns))
        mean.lerp_(gradients, (1 - self._beta1).to(kind))
        square.mul_(self._beta2.to(kind)).add_(gradients.square().mul_((1 - self._beta2).to(kind)))
        scale = square.sqrt().div_(spread).add_(self._eps.to(kind))
        weights.add_(size.index_select(1, columns).mul_(mean).div_(scale))
        gradients.zero_()


def rates_of(works: Sequence[Work | None], most: int) -> Tensor:
    """Return the rates of slots' parameter groups, of shape (slots, most), in 64 bits."""
    rows = [[] if work is None else [g["lr"] for g in optimizer_of(work).param_groups] for work in works]
    return torch.tensor([[*row, *[0.0] * (most - len(row))] for row in rows], dtype=torch.float64)


def state_apart(_optimizer: Optimizer, found: dict[str, Any]) -> dict[str, Any]:
    """Return an optimizer's state with memory of its own: a view is saved with all that it is a view of."""
    states = {
        number: {name: value.clone(memory_format=torch.contiguous_format) for name, value in state.items()}
        for number, state in found["state"].items()
    }
    return {**found, "state": states}


def leave(work: Work) -> None:
    """Give the state of a trial's optimizer memory of its own."""
    optimizer = optimizer_of(work)
    optimizer.state.update(state_apart(optimizer, {"state": optimizer.state})["state"])
