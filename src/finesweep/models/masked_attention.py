"""transformers' sdpa, always with a mask.

transformers leaves a mask out when a batch has no padding. To know that it waits for the device, which a step
that is recorded can't do; and the kernel that attends without a mask is another one, with other bits.
"""

from __future__ import annotations

from typing import Any

from finesweep.models.classifier import inner_model
from finesweep.models.transformers_insides import attention_of, register_attention, sdpa_attention

ATTENTION = "finesweep-masked"


def mask_always(model: Any) -> None:
    """Have a classifier whose attention is sdpa make a mask for every batch, in place.

    Args:
        model: a transformers model or a PeftModel around one.
    """
    classifier = inner_model(model)
    if classifier.is_backend_compatible() and attention_of(classifier) == "sdpa":
        register_attention(ATTENTION, sdpa_attention, always_masked=True)
        classifier.set_attn_implementation(ATTENTION)
