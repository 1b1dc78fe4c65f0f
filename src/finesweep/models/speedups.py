"""Faster training of a prepared model: exact, or equal in distribution; what is saved stays as it is.

| speed-up | what it does | the result |
|---|---|---|
| fast-dropout | cuts dropout masks from random 64-bit words, four numbers a word | equal in distribution |
| first-token | computes the last layer for the one token that the head reads | equal to rounding |
| cuda-graph | launches a whole step at once; the trainer's work (training/graphs.py) | equal to rounding |
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from finesweep.errors import ConfigError, Fault, nearest
from finesweep.models.transformers_insides import attention_of, first_token_forward

Choice = Literal["auto", "none"] | Sequence[str]

ATTENTION = "finesweep-fast-dropout"
# Those that take a mask of shape (batch, 1, queries, keys), of which the first query's row can be cut.
ATTENTIONS = ("eager", "sdpa", ATTENTION)
WORDS = 1 << 16
CUDA_GRAPH = "cuda-graph"
# Encoders whose classification head reads the first token of layers that are built like BERT's.
FIRST_TOKEN_MODELS = ("bert", "camembert", "electra", "roberta", "xlm-roberta")
PREFIX_METHODS = ("PREFIX_TUNING", "CARTRIDGE")


def apply(model: Any, choice: Choice = "auto", *, can_record: bool = False) -> tuple[str, ...]:
    """Put speed-ups on a classifier, in place, and return the names of those that are on.

    Args:
        model: a transformers model or a PeftModel around one.
        choice: `auto` for those that help this model on this machine, `none`, or names of SPEEDUPS.
        can_record: whether a trainer will see to `cuda-graph` when it is among the names returned.

    Raises:
        ConfigError: an unknown name, or a speed-up that there is no place for.
    """
    if choice == "none":
        return ()
    classifier = model.get_base_model() if hasattr(model, "peft_config") else model
    if choice == "auto":
        helpful = [name for name in SPEEDUPS if _helps(name, can_record=can_record)]
        return tuple(name for name in helpful if SPEEDUPS[name](model, classifier))
    for name in choice:
        if name not in SPEEDUPS:
            rule = f"There is no such speed-up. {nearest(name, SPEEDUPS)}".strip()
            raise ConfigError(Fault("speedups", rule, name, valid=("auto", "none", *SPEEDUPS)))
        if name == CUDA_GRAPH and not can_record:
            rule = "It needs trainer=native and a CUDA device."
            raise ConfigError(Fault("speedups", rule, name, fix="speedups=auto leaves it out."))
        if not SPEEDUPS[name](model, classifier):
            rule = f"It has no place in a {classifier.config.model_type} on this machine."
            raise ConfigError(Fault("speedups", rule, name, fix="speedups=auto leaves it out."))
    return tuple(choice)


def _helps(name: str, *, can_record: bool) -> bool:
    """Say whether a speed-up makes a step faster here, as benchmarks/ measured it.

    A GPU waits for launches, of which `first-token` has more, unless all are one.
    """
    return can_record if name == CUDA_GRAPH else can_record or not torch.cuda.is_available()


def _put_on_fast_dropout(model: Any, classifier: Any) -> bool:
    """On a CPU, torch draws each number of a mask by itself: about 8 ns, and 40% of a training step."""
    if torch.cuda.is_available():
        return False
    for module in model.modules():
        if type(module) is nn.Dropout:
            module.__class__ = FastDropout
    if classifier.is_backend_compatible() and attention_of(classifier) == "sdpa":
        _register_attention()
        classifier.set_attn_implementation(ATTENTION)
    return True


def _put_on_first_token(model: Any, classifier: Any) -> bool:
    is_known = classifier.config.model_type in FIRST_TOKEN_MODELS
    if not is_known or not type(classifier).__name__.endswith("ForSequenceClassification"):
        return False
    methods = getattr(model, "peft_config", {}).values()
    if any(method.peft_type.value in PREFIX_METHODS for method in methods):
        return False  # whose keys and values reach a layer as a cache
    if attention_of(classifier) not in ATTENTIONS:
        return False
    last = classifier.base_model.encoder.layer[-1]
    last.forward = functools.partial(first_token_forward, last)
    return True


def _leave_to_trainer(_model: Any, _classifier: Any) -> bool:
    return True


SPEEDUPS = {
    "fast-dropout": _put_on_fast_dropout,
    "first-token": _put_on_first_token,
    CUDA_GRAPH: _leave_to_trainer,
}


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


@functools.cache
def _register_attention() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(ATTENTION, _attention_forward)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)


def _attention_forward(
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
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    plain = (module, query, key, value, attention_mask)
    if dropout == 0 or query.device.type != "cpu" or "position_bias" in kwargs:
        return sdpa_attention_forward(*plain, dropout=dropout, scaling=scaling, **kwargs)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = torch.matmul(query * scale, key.transpose(2, 3))
    if attention_mask is not None:
        is_bool = attention_mask.dtype == torch.bool
        lowest = torch.finfo(scores.dtype).min
        scores = scores.masked_fill(~attention_mask, lowest) if is_bool else scores + attention_mask
    weights = fast_dropout(scores.softmax(-1), dropout)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), None
