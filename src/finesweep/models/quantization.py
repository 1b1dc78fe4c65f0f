"""Frozen weights in 8 or 4 bits, by bitsandbytes, on a GPU."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any, Literal

from finesweep.errors import ConfigError, Fault

Quantization = Literal["8bit", "4bit"]


def settings_for(quantization: Quantization, fresh_modules: Sequence[str]) -> dict[str, Any]:
    """Return what `from_pretrained` needs to quantise all but the head.

    Args:
        quantization: `8bit`, or `4bit` (NF4, computed in bfloat16; Dettmers et al. 2023, arXiv:2305.14314).
        fresh_modules: the head's modules, which are trained and stay as they are.

    Raises:
        ConfigError: no GPU, or no bitsandbytes.
    """
    import torch
    from transformers import BitsAndBytesConfig

    if not torch.cuda.is_available():
        rule, fix = "It needs a GPU.", "Leave model.quantization out."
        raise ConfigError(Fault("model.quantization", rule, quantization, fix=fix))
    if importlib.util.find_spec("bitsandbytes") is None:
        rule, fix = "It needs the package bitsandbytes.", "pip install bitsandbytes"
        raise ConfigError(Fault("model.quantization", rule, quantization, fix=fix))
    config = BitsAndBytesConfig(
        load_in_8bit=quantization == "8bit",
        load_in_4bit=quantization == "4bit",
        llm_int8_skip_modules=list(fresh_modules),
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return {"quantization_config": config, "device_map": {"": torch.cuda.current_device()}}
