"""The weights of several trials as the rows of one matrix, and each layer's as a stack that is a part of it.

A trial has a slot, its number among the rows. Its parameters are views of its row, and so are their
gradients. Where a trial has a smaller matrix than others, or none, its row holds zeros that no view reaches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

Place = tuple[str, str]  # a layer's path in a packed model, and what it is there
Trial = Mapping[Place, nn.Parameter]
LORA_B = "lora_b"  # is stacked transposed
ALIGNED = 8  # numbers after which a stack may begin, as kernels for matrices want it


class Stacks:
    """Rows for the weights and the gradients of trials.

    Args:
        trials: that there must be room for; they don't lie here yet.
        slots: number of rows.
    """

    def __init__(self, trials: Sequence[Trial], slots: int) -> None:
        self.shapes: dict[Place, tuple[int, ...]] = {}
        for place in dict.fromkeys(place for trial in trials for place in trial):
            shapes = [_stacked_shape(trial[place], place) for trial in trials if place in trial]
            self.shapes[place] = tuple(max(sizes) for sizes in zip(*shapes, strict=True))
        sizes = [-(-math.prod(shape) // ALIGNED) * ALIGNED for shape in self.shapes.values()]
        ends = torch.tensor([0, *sizes]).cumsum(0).tolist()
        self._starts = dict(zip(self.shapes, ends, strict=False))
        like = next(iter(trials[0].values()))
        self.weights = like.new_zeros((slots, ends[-1])).detach()
        self.gradients = torch.zeros_like(self.weights)
        # What layers compute with, of shapes (slots, ...).
        self.leaves = {place: self.of(self.weights, place).requires_grad_() for place in self.shapes}
        # Of each column, the number of its place.
        self.columns = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)).to(like.device)

    def of(self, rows: Tensor, place: Place) -> Tensor:
        """Return a place's part of a matrix with these rows, of shape (slots, ...)."""
        start, shape = self._starts[place], self.shapes[place]
        return rows[:, start : start + math.prod(shape)].unflatten(1, shape)

    def part(self, rows: Tensor, slot: int, place: Place, like: Tensor) -> Tensor:
        """Return what belongs to a trial's parameter, in its shape."""
        whole = self.of(rows, place)[slot]
        if place[1] == LORA_B:
            whole = whole.T
        return whole[tuple(slice(0, size) for size in like.shape)]

    def add_gradient(self, loss: Tensor) -> None:
        """Add a loss's gradient to what is there."""
        found = torch.autograd.grad(loss, list(self.leaves.values()), allow_unused=True)
        for place, gradient in zip(self.leaves, found, strict=True):
            if gradient is not None:
                self.of(self.gradients, place).add_(gradient)

    def has_room_for(self, trial: Trial) -> bool:
        """Say whether a trial's parameters fit in a row."""
        return all(
            place in self.shapes
            and all(map(int.__le__, _stacked_shape(parameter, place), self.shapes[place]))
            for place, parameter in trial.items()
        )

    def put(self, slot: int, trial: Trial) -> None:
        """Move a trial's parameters into a row; what lay there is gone."""
        self.weights[slot].zero_()
        self.gradients[slot].zero_()
        for place, parameter in trial.items():
            view = self.part(self.weights, slot, place, parameter)
            view.copy_(parameter.data)
            parameter.data = view
            parameter.grad = self.part(self.gradients, slot, place, parameter)


def _stacked_shape(parameter: Tensor, place: Place) -> tuple[int, ...]:
    return tuple(reversed(parameter.shape)) if place[1] == LORA_B else tuple(parameter.shape)
