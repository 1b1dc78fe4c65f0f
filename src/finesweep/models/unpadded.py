"""Compute the tokens of a batch and none of its padding: an encoder's input is flattened to (1, tokens).

The padded shape exists inside attention alone, and behind the encoder, for the head. Modules stay as they
are: a hook before the backbone flattens its input, one behind the encoder lays the output out again, and an
attention function that is told of the layout does so with queries, keys and values.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from finesweep.models import fast_dropout
from finesweep.models.classifier import method_kinds
from finesweep.models.layout import Layout
from finesweep.models.transformers_insides import (
    attention_of,
    position_ids_of,
    register_attention,
    sdpa_attention,
)

# The attentions that a model may have before, and the names of those that take their place.
ATTENTIONS = {"sdpa": "finesweep-unpadded", fast_dropout.ATTENTION: "finesweep-unpadded-fast-dropout"}
# Which part of a backbone returns the tokens' last states, all after it being the head's ("": the backbone).
ENCODERS = {
    "albert": "encoder",
    "bert": "encoder",
    "camembert": "encoder",
    "distilbert": "transformer",
    "electra": "encoder",
    "eurobert": "",
    "modernbert": "",
    "roberta": "encoder",
    "xlm-roberta": "encoder",
}
# PEFT methods whose modules compute each token by itself. (Prompts add tokens to each text; a mixture of
# adapters weighs them for each text.)
METHODS = (
    *(
        "ADALORA",
        "ADAMSS",
        "BOFT",
        "C3A",
        "DEFT",
        "DELORA",
        "FOURIERFT",
        "GLORA",
        "GRALORA",
        "HIRA",
        "HRA",
        "IA3",
    ),
    *(
        "LN_TUNING",
        "LOHA",
        "LOKR",
        "LORA",
        "MISS",
        "OFT",
        "OSF",
        "PEANUT",
        "PSOFT",
        "PVERA",
        "RANDLORA",
        "ROAD",
    ),
    *("SHIRA", "SUPERTUNING", "TINYLORA", "TRAINABLE_TOKENS", "UNILORA", "VBLORA", "VERA", "WAVEFT"),
)
# What a caller may ask for, or hand in, that has the padded shape.
PADDED = (
    "inputs_embeds",
    "past_key_values",
    "encoder_hidden_states",
    "output_hidden_states",
    "output_attentions",
)


def put_on(model: Any, classifier: Any) -> str:
    """Let a classifier compute no padding, or return why it can't.

    Args:
        model: the classifier, or a PeftModel around it.
        classifier: a transformers model.
    """
    reason = _reason_against(model, classifier)
    if reason:
        return reason
    before = attention_of(classifier)
    inner = fast_dropout.fast_dropout_attention if before == fast_dropout.ATTENTION else sdpa_attention
    register_attention(ATTENTIONS[before], functools.partial(unpadded_attention, inner))
    classifier.set_attn_implementation(ATTENTIONS[before])
    backbone = classifier.base_model
    backbone.register_forward_pre_hook(_flatten, with_kwargs=True)
    encoder = backbone.get_submodule(ENCODERS[classifier.config.model_type])
    encoder.register_forward_hook(_pad, with_kwargs=True)
    return ""


def _reason_against(model: Any, classifier: Any) -> str:
    config = classifier.config
    if config.model_type not in ENCODERS:
        return f"its attention isn't known to work without padding, as that of {', '.join(ENCODERS)} is"
    if attention_of(classifier) not in ATTENTIONS:
        return f"its attention is {attention_of(classifier)}, and needs to be sdpa"
    if getattr(config, "is_decoder", False) or getattr(config, "chunk_size_feed_forward", 0):
        return "it is a decoder, or computes its feed-forward layers in chunks"
    others = [kind for kind in method_kinds(model) if kind not in METHODS]
    return f"{others[0]} doesn't compute each token by itself" if others else ""


def _flatten(backbone: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Flatten a backbone's input, where that is worth it, and tell the layers of the layout."""
    given = {**dict(zip(("input_ids", "attention_mask"), args, strict=False)), **kwargs}
    ids, mask = given.get("input_ids"), given.get("attention_mask")
    asked = any(_is_given(given.get(name, getattr(backbone.config, name, None))) for name in PADDED)
    if ids is None or mask is None or mask.dim() != 2 or asked or len(args) > 2:
        return None
    layout = None if torch.compiler.is_compiling() else Layout.of(mask)
    if layout is None:
        return None
    positions = given.get("position_ids")
    if positions is None:
        positions = position_ids_of(backbone, ids)
    if positions is not None:
        given["position_ids"] = positions.expand(ids.shape)
    flat = {name: layout.flattened(values) for name, values in given.items() if _has_shape(values, ids)}
    positions = flat.pop("position_ids", layout.columns[None])
    mask = layout.mask  # whose four dimensions say that it is ready
    return (), {**given, **flat, "position_ids": positions, "attention_mask": mask, "layout": layout}


def _is_given(value: Any) -> bool:
    return value is not None and value is not False


def _has_shape(values: Any, like: Tensor) -> bool:
    return isinstance(values, Tensor) and values.shape == like.shape


def _pad(_encoder: nn.Module, _args: Any, kwargs: dict[str, Any], output: Any) -> None:
    """Lay out an encoder's output in the padded shape, in place."""
    layout = kwargs.get("layout")
    if layout is not None:
        output.last_hidden_state = layout.padded(output.last_hidden_state)


def unpadded_attention(
    inner: Callable[..., tuple[Tensor, Any]],
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    layout: Layout | None = None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Any]:
    """Attend in the padded shape, to which flat queries, keys and values are brought, and from there back.

    Args:
        inner: an attention function, for the padded shape.
        module: the attention module.
        query: shape (1, heads, tokens, size), or (1, heads, batch, size) for the first token of each text.
        key: shape (1, heads, tokens, size).
        value: shape (1, heads, tokens, size).
        attention_mask: shape (batch, 1, 1, longest).
        layout: of the batch; None: all of it is in the padded shape already.
        sliding_window: as ModernBERT's modules have it: one more than the greatest distance in tokens.
        kwargs: for the inner function: dropout, scaling, ...

    Returns:
        Shape (1, tokens, heads, size), or (1, batch, heads, size); and None.
    """
    if layout is None:
        return inner(module, query, key, value, attention_mask, sliding_window=sliding_window, **kwargs)
    mask = attention_mask if sliding_window is None else layout.window(sliding_window - 1)
    padded = (layout.heads_padded(part) for part in (query, key, value))
    attended, weights = inner(module, *padded, mask, **kwargs)
    return layout.heads_flattened(attended), weights
