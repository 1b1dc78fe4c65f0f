"""What finesweep needs of a transformers model that isn't offered; tests/test_library_insides.py tests each.

All of it was read from transformers 5.23.0. What is needed of its Trainer is in training/trainer_insides.py.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Generator, Tensor, nn
    from transformers import PreTrainedModel


def attention_of(model: Any) -> str:
    """Return the name of a model's, or a layer's, attention (configuration_utils.py).

    It is set by `set_attn_implementation`, and nothing public reads it.
    """
    return str(model.config._attn_implementation)


def register_attention(name: str, function: Callable[..., Any], *, always_masked: bool = False) -> None:
    """Make an attention function known to every model, with sdpa's masks (masking_utils.py).

    Args:
        name: for `set_attn_implementation`.
        function: called as `sdpa_attention` is.
        always_masked: make a mask, true for what is attended to, of shape (batch, 1, queries, keys) for every
            batch. Else a batch without padding has none; to know that, transformers waits for the device.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    def always(**settings: Any) -> Any:
        return sdpa_mask(**{**settings, "allow_is_bidirectional_skip": False})

    AttentionInterface.register(name, function)
    AttentionMaskInterface.register(name, always if always_masked else sdpa_mask)


def sdpa_attention(*args: Any, **kwargs: Any) -> Any:
    """Attend as transformers does by default (integrations/sdpa_attention.py)."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    return sdpa_attention_forward(*args, **kwargs)


def position_ids_of(backbone: Any, input_ids: Tensor) -> Tensor | None:
    """Return the positions that RoBERTa's relatives count without the padding (modeling_roberta.py).

    Args:
        backbone: a transformers model without a head.
        input_ids: shape (batch, width).

    Returns:
        Shape (batch, width); None for models whose positions are the columns.
    """
    embeddings = getattr(backbone, "embeddings", None)
    count = getattr(embeddings, "create_position_ids_from_input_ids", None)
    return count(input_ids, embeddings.padding_idx) if count and embeddings else None


def draw_anew(model: PreTrainedModel, layer: nn.Module) -> None:
    """Draw a loaded layer's weights as its architecture does (modeling_utils.py, initialization.py).

    `initialize_weights` leaves alone what is marked as loaded, and so do the functions that draw.
    """
    for part in (layer, *layer.parameters()):
        part._is_hf_initialized = False  # type: ignore[union-attr]
    model._init_weights(layer)


def decaying_names(model: nn.Module) -> set[str]:
    """Return the names of the parameters that decay: no biases, no norms (trainer.py).

    It is a method of a Trainer, and reads no `self`.
    """
    from transformers import Trainer

    return set(Trainer.get_decay_parameter_names(None, model))  # type: ignore[arg-type]


def grouped_by_length(lengths: Sequence[int], batch_size: int, generator: Generator) -> list[int]:
    """Return the order in which `group_by_length` reads rows (trainer_pt_utils.py).

    Rows are shuffled, and sorted by length within stretches of up to 50 batches; the longest comes first.

    Args:
        lengths: of the rows, in tokens.
        batch_size: rows.
        generator: draws the order.
    """
    from transformers.trainer_pt_utils import get_length_grouped_indices

    return get_length_grouped_indices(list(lengths), batch_size, generator=generator)


def first_token_forward(
    layer: Any, hidden_states: Tensor, attention_mask: Tensor | None = None, *_: Any, **kwargs: Any
) -> Tensor:
    """Do a BERT layer's work for its first token: keys and values of all tokens, the rest of one.

    Where the batch is flat (`layout` among the keywords), it is that of each text. It has BertLayer's parts
    and calls (models/bert/modeling_bert.py), which the models built like it share.

    Returns:
        Shape (batch, 1, width), or (1, batch, width) without padding.
    """
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    attention, layout = layer.attention.self, kwargs.get("layout")
    first = hidden_states[:, :1] if layout is None else hidden_states[:, layout.firsts]
    eager = sys.modules[type(attention).__module__].eager_attention_forward  # type: ignore[attr-defined]
    attend = ALL_ATTENTION_FUNCTIONS.get_interface(attention_of(attention), eager)

    def heads(projected: Tensor) -> Tensor:
        return projected.unflatten(-1, (-1, attention.attention_head_size)).transpose(1, 2)

    context, _weights = attend(
        attention,
        heads(attention.query(first)),
        heads(attention.key(hidden_states)),
        heads(attention.value(hidden_states)),
        None if attention_mask is None else attention_mask[:, :, :1],
        dropout=attention.dropout.p if attention.training else 0.0,
        scaling=attention.scaling,
        **{
            name: value
            for name, value in kwargs.items()
            if name not in ("past_key_values", "encoder_attention_mask")
        },
    )
    return layer.feed_forward_chunk(layer.attention.output(context.flatten(2), first))
