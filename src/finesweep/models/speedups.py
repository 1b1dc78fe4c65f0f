"""Faster training of a prepared model: exact, or equal in distribution; what is saved stays as it is.

| speed-up | what it does | the result |
|---|---|---|
| fast-dropout | cuts dropout masks from random 64-bit words, four numbers a word | equal in distribution |
| first-token | computes the last layer for the one token that the head reads | equal to rounding |
| cuda-graph | launches a whole step at once; the trainer's work (training/graphs.py) | equal to rounding |
| unpadded | computes the tokens of a batch and none of its padding | equal to rounding |
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal

import torch
from torch import nn

from finesweep.errors import ConfigError, Fault, nearest
from finesweep.models import fast_dropout, unpadded
from finesweep.models.classifier import PLAIN, inner_model, method_kinds
from finesweep.models.fast_dropout import FastDropout
from finesweep.models.transformers_insides import attention_of, first_token_forward, register_attention

Choice = Literal["auto", "none"] | Sequence[str]

# Those that take a mask of shape (batch, 1, queries, keys), of which the first query's row can be cut.
ATTENTIONS = ("eager", "sdpa", fast_dropout.ATTENTION, *unpadded.ATTENTIONS.values())
# Encoders whose classification head reads the first token of layers that are built like BERT's.
FIRST_TOKEN_MODELS = ("bert", "camembert", "electra", "roberta", "xlm-roberta")
CUDA_GRAPH = "cuda-graph"
PREFIX_METHODS = ("PREFIX_TUNING", "CARTRIDGE")
# What `auto` leaves out where there is a GPU: a step waits for its launches there, and these add some. With
# cuda-graph too, first-token was seen to make a step longer.
NOT_ON_GPUS = ("first-token", "unpadded")


def apply(
    model: Any,
    choice: Choice = "auto",
    among: Collection[str] | None = None,
    *,
    can_record: bool = False,
) -> tuple[str, ...]:
    """Put speed-ups on a classifier, in place, and return the names of those that are on.

    Args:
        model: a transformers model or a PeftModel around one.
        choice: `auto` for those that help this model on this machine, `none`, or names of SPEEDUPS.
        among: what `auto` may choose from; None: every one.
        can_record: whether a trainer will see to `cuda-graph` when it is among the names returned.

    Raises:
        ConfigError: an unknown name, or a speed-up that there is no place for.
    """
    if choice == "none":
        return ()
    classifier = inner_model(model)
    if classifier.config.model_type == PLAIN:
        if choice == "auto":
            return ()
        rule = "A plain torch module has none: what it computes isn't known."
        raise ConfigError(Fault("speedups", rule, [*choice], fix="speedups=auto leaves it as it is."))
    if choice == "auto":
        left_out = (
            *(NOT_ON_GPUS if torch.cuda.is_available() else ()),
            *([] if can_record else [CUDA_GRAPH]),
        )
        helpful = [name for name in SPEEDUPS if name not in left_out and (among is None or name in among)]
        return tuple(name for name in helpful if not SPEEDUPS[name](model, classifier))
    for name in choice:
        if name not in SPEEDUPS:
            rule = f"There is no such speed-up. {nearest(name, SPEEDUPS)}".strip()
            raise ConfigError(Fault("speedups", rule, name, valid=("auto", "none", *SPEEDUPS)))
        if name == CUDA_GRAPH and not can_record:
            rule = "It needs trainer=native and a CUDA device."
            raise ConfigError(Fault("speedups", rule, name, fix="speedups=auto leaves it out."))
    for name in sorted(set(choice), key=list(SPEEDUPS).index):  # each builds on those before it
        if reason := SPEEDUPS[name](model, classifier):
            rule = f"It has no place in a {classifier.config.model_type} on this machine: {reason}."
            raise ConfigError(Fault("speedups", rule, name, fix="speedups=auto leaves it out."))
    return tuple(choice)


def _put_on_fast_dropout(model: Any, classifier: Any) -> str:
    """On a CPU, torch draws each number of a mask by itself: about 8 ns, and 40% of a training step."""
    if torch.cuda.is_available():
        return "a GPU draws masks fast"
    for module in model.modules():
        if type(module) is nn.Dropout:
            module.__class__ = FastDropout
    if classifier.is_backend_compatible() and attention_of(classifier) == "sdpa":
        register_attention(fast_dropout.ATTENTION, fast_dropout.fast_dropout_attention)
        classifier.set_attn_implementation(fast_dropout.ATTENTION)
    return ""


def _put_on_first_token(model: Any, classifier: Any) -> str:
    if classifier.config.model_type not in FIRST_TOKEN_MODELS:
        return f"its last layer isn't one of {', '.join(FIRST_TOKEN_MODELS)}"
    if not type(classifier).__name__.endswith("ForSequenceClassification"):
        return "its head reads every token"
    if any(kind in PREFIX_METHODS for kind in method_kinds(model)):
        return "the method's keys and values reach a layer as a cache"
    if attention_of(classifier) not in ATTENTIONS:
        return f"its attention, {attention_of(classifier)}, has masks of its own"
    last = classifier.base_model.encoder.layer[-1]
    last.forward = functools.partial(first_token_forward, last)
    return ""


def _leave_to_trainer(_model: Any, _classifier: Any) -> str:
    return ""


# Each puts a speed-up on a model and returns nothing, or leaves the model alone and returns why.
SPEEDUPS: dict[str, Callable[[Any, Any], str]] = {
    "fast-dropout": _put_on_fast_dropout,
    "first-token": _put_on_first_token,
    CUDA_GRAPH: _leave_to_trainer,
    "unpadded": unpadded.put_on,
}
