"""Dropout on a CPU whose masks are cut from random 64-bit words, four numbers a word."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from finesweep.models.transformers_insides import sdpa_attention

ATTENTION = "finesweep-fast-dropout"
WORDS = 1 << 16


class FastDropout(nn.Dropout):
    """nn.Dropout with masks from `fast_dropout`."""

    def forward(self, input: Tensor) -> Tensor:
        """Drop each number with probability p while training."""
        if not self.training or self.p == 0 or input.device.type != "cpu":
            return super().forward(input)
        return fast_dropout(input, self.p)


def fast_dropout(x: Tensor, p: float) -> Tensor:
    """Zero each number with probability p and scale the others so that the expectation stays.

    A number is kept when its 16 random bits lie below a threshold, so the keep rate is 1 - p rounded to
    a multiple of 2^-16. The bits are seeded by torch's default generator.

    Args:
        x: of any shape, on the CPU.
        p: 0 < p < 1.
    """
    kept = round((1 - p) * WORDS)
    if kept in (0, WORDS):  # all or none would be kept
        return nn.functional.dropout(x, p)
    return _FastDropout.apply(x, kept)  # type: ignore[no-any-return]


class _FastDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kept: int) -> Tensor:  # type: ignore[override]
        # The threshold is shifted because the bits are read as signed. A product with uint8 is several
        # times as fast as one with bool, and a mask of bytes takes a quarter of the memory of x.
        keep = (_random_bits(x.numel()) < kept - WORDS // 2).view(torch.uint8).view(x.shape)
        ctx.save_for_backward(keep)
        ctx.scale = WORDS / kept
        return (x * keep).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (keep,) = ctx.saved_tensors
        return (gradients[0] * keep).mul_(ctx.scale), None


def _random_bits(count: int) -> Tensor:
    """Return `count` random int16, from a generator that is seeded by torch's."""
    import numpy as np

    seed = int(torch.randint(2**62, ()))
    words = np.random.SFC64(seed).random_raw(-(-count // 4))
    return torch.from_numpy(words.view(np.int16))[:count]


def fast_dropout_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend with fast dropout on the weights; without dropout, or off the CPU, transformers' own sdpa.

    That is also for models whose heads share keys and values.

    Args:
        module: the attention module; it is not causal.
        query: shape (batch, heads, queries, width).
        key: shape (batch, heads, keys, width).
        value: shape (batch, heads, keys, width).
        attention_mask: None, bool (true: attend), or added to the scores; shape (batch, 1, queries, keys).
        dropout: probability.
        scaling: of the scores.
        kwargs: for sdpa.
    """
    plain = (module, query, key, value, attention_mask)
    is_plain = "position_bias" not in kwargs and query.shape[1] == key.shape[1]
    if dropout == 0 or query.device.type != "cpu" or not is_plain:
        return sdpa_attention(*plain, dropout=dropout, scaling=scaling, **kwargs)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = torch.matmul(query * scale, key.transpose(2, 3))
    if attention_mask is not None:
        is_bool = attention_mask.dtype == torch.bool
        lowest = torch.finfo(scores.dtype).min
        scores = scores.masked_fill(~attention_mask, lowest) if is_bool else scores + attention_mask
    weights = fast_dropout(scores.softmax(-1), dropout)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), None
