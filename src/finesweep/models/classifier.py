"""A backbone with a head, and what is known of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# The `model_type` of a plain torch module: models/plain.py.
PLAIN = "finesweep-plain"


@dataclass(frozen=True)
class Classifier:
    """A loaded model, and which of its modules started from random weights.

    Args:
        model: backbone and head.
        fresh_modules: names of the largest modules that hold nothing but newly initialised
            parameters: the head, and a pooler that the checkpoint lacks.
        name: what it was loaded from.
        revision: the hub commit it was loaded at, or what the config asked for.
        frozen: the parts of the backbone that stay as they are, in words.
        is_random: whether the backbone's weights are random too, and in no file.
        kept_head: name of the head's module that the checkpoint had, for these labels; it is trained.
        note: what became of the checkpoint's head, for people.
    """

    model: PreTrainedModel
    fresh_modules: tuple[str, ...]
    name: str
    revision: str | None
    frozen: tuple[str, ...] = ()
    is_random: bool = False
    kept_head: str = ""
    note: str = ""

    @property
    def head(self) -> tuple[str, ...]:
        """Names of the modules that are trained whatever the method: the fresh ones, and a kept head."""
        return (*self.fresh_modules, *([self.kept_head] if self.kept_head else []))

    @property
    def is_plain(self) -> bool:
        """Whether it is a plain torch module, of which no more is known than that it gives logits."""
        return self.model.config.model_type == PLAIN

    @property
    def is_tokens(self) -> bool:
        """Whether the head labels tokens, not texts."""
        return type(self.model).__name__.endswith("ForTokenClassification")


def inner_model(model: Any) -> Any:
    """Return the transformers model that a PeftModel is around; any other model is itself one."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


def method_kinds(model: Any) -> tuple[str, ...]:
    """Return the kinds of a PeftModel's methods as peft calls them, such as LORA; of any other model none."""
    return tuple(method.peft_type.value for method in getattr(model, "peft_config", {}).values())


def weights_fingerprint(model: PreTrainedModel, fresh_modules: tuple[str, ...]) -> str:
    """Hash the pretrained weights, the fresh head left out."""
    import torch

    digest = hashlib.sha256()
    heads = tuple(f"{name}." for name in fresh_modules)
    for name, tensor in sorted(model.state_dict().items()):
        if not name.startswith(heads):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(dtype=torch.uint8).numpy())
    return digest.hexdigest()
