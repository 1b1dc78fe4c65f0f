"""transformers' sdpa, always with a mask.

transformers leaves a mask out when a batch has no padding. To know that it waits for the device, which a step
that is recorded can't do; and the kernel that attends without a mask is another one, with other bits.
"""

from __future__ import annotations

import functools
from typing import Any

from finesweep.models.transformers_insides import attention_of

ATTENTION = "finesweep-masked"


def mask_always(model: Any) -> None:
    """Have a classifier whose attention is sdpa make a mask for every batch, in place.

    Args:
        model: a transformers model or a PeftModel around one.
    """
    classifier = model.get_base_model() if hasattr(model, "peft_config") else model
    if classifier.is_backend_compatible() and attention_of(classifier) == "sdpa":
        _register()
        classifier.set_attn_implementation(ATTENTION)


@functools.cache
def _register() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    AttentionInterface.register(ATTENTION, sdpa_attention_forward)
    AttentionMaskInterface.register(ATTENTION, _mask)


def _mask(**settings: Any) -> Any:
    """Return a bool mask of shape (batch, 1, queries, keys); true: attend."""
    from transformers.masking_utils import sdpa_mask

    return sdpa_mask(**{**settings, "allow_is_bidirectional_skip": False})
