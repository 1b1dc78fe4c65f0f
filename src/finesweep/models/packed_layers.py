"""Layers of a packed model, which treat the rows of each slot with that slot's own weights: packed.py."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

# What a packed layer has of each slot.
KINDS = ("weight", "bias", "lora_a", "lora_b", "scale", "taken_a", "taken_b", "dropout")


class PackedLinear(nn.Module):
    """A linear layer of several slots.

    Args:
        frozen: the layer whose weights all slots share; of a layer that is trained, the shape alone counts.
    """

    def __init__(self, frozen: nn.Linear) -> None:
        super().__init__()
        self.frozen = frozen
        self.slots = 1
        # Leaves of shapes (slots, out, in), (slots, out), (slots, rank, in) and (slots, rank, out).
        self.weight: Tensor | None = None
        self.bias: Tensor | None = None
        self.lora_a: Tensor | None = None
        self.lora_b: Tensor | None = None
        self.scale: Tensor | None = None  # (slots, 1, 1)
        # What slots took out of the frozen weights, of the shapes of lora_a and lora_b; no leaves.
        self.taken_a: Tensor | None = None
        self.taken_b: Tensor | None = None
        self.dropout: Tensor | float | None = None  # (slots, 1, 1), or what is the same in all of them

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (slots * rows, ..., in) to (slots * rows, ..., out)."""
        rows = inputs.reshape(self.slots, -1, inputs.shape[-1])
        shared_bias = self.frozen.bias if self.bias is None else None
        if self.weight is None:
            found = functional.linear(rows, self.frozen.weight, shared_bias)
        else:
            found = torch.bmm(rows, self.weight.to(rows.dtype).transpose(1, 2))
            found = found if shared_bias is None else found + shared_bias
        if self.bias is not None:
            found = found + self.bias.unsqueeze(1)
        if self.lora_a is not None and self.lora_b is not None:
            assert self.scale is not None
            inner = self._dropped(rows) @ self.lora_a.transpose(1, 2)
            found = found + torch.bmm(inner * self.scale, self.lora_b)
            if self.taken_a is not None and self.taken_b is not None:
                taken = rows @ self.taken_a.transpose(1, 2)
                found = found - torch.bmm(taken * self.scale, self.taken_b)
        return found.view(*inputs.shape[:-1], found.shape[-1])

    def _dropped(self, rows: Tensor) -> Tensor:
        if self.dropout is None or not self.training:
            return rows
        if isinstance(self.dropout, float):
            return functional.dropout(rows, self.dropout)
        kept = torch.rand_like(rows) >= self.dropout
        return rows * kept / (1 - self.dropout)


class PackedNorm(nn.Module):
    """A layer norm that is trained, of several slots.

    Args:
        norm: the shape, and what is added to the variance.
    """

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.shape, self.eps = norm.normalized_shape, norm.eps
        self.slots = 1
        self.weight: Tensor | None = None
        self.bias: Tensor | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (slots * rows, ..., width) to the same shape."""
        rows = functional.layer_norm(inputs, self.shape, eps=self.eps).reshape(
            self.slots, -1, inputs.shape[-1]
        )
        rows = rows if self.weight is None else rows * self.weight.unsqueeze(1)
        rows = rows if self.bias is None else rows + self.bias.unsqueeze(1)
        return rows.view(inputs.shape)


def packed_layer(layer: nn.Module) -> PackedLinear | PackedNorm:
    """Return a linear layer or a layer norm as one of several slots."""
    if isinstance(layer, nn.Linear):
        return PackedLinear(layer)
    assert isinstance(layer, nn.LayerNorm), f"a {type(layer).__name__} isn't stacked"
    return PackedNorm(layer)
