"""Parts of a backbone that stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finesweep.errors import ConfigError, Fault

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

LAYER_LISTS = ("layer", "layers")


def freeze(model: PreTrainedModel, *, embeddings: bool, layers: int) -> tuple[str, ...]:
    """Freeze parts of the backbone, and say which."""
    found = _layers(model)
    if layers > len(found):
        shared = "shares the weights of its layers" if not found else f"has {len(found)} layers"
        raise ConfigError(Fault("model.freeze_layers", f"This {model.config.model_type} {shared}.", layers))
    backbone: Any = model.base_model
    parts = [getattr(backbone, "embeddings", None) or backbone.get_input_embeddings()] if embeddings else []
    for part in (*parts, *found[:layers]):
        part.requires_grad_(False)
    words = ("embeddings",) if embeddings else ()
    return (*words, f"the first {layers} layers") if layers else words


def _layers(model: PreTrainedModel) -> list[nn.Module]:
    from torch import nn

    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and name.rpartition(".")[2] in LAYER_LISTS:
            return list(module)
    return []
