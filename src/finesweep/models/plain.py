"""A plain torch module as a model: it takes what the tokenizer gives, and returns logits."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from finesweep.data.labels import LabelSchema
from finesweep.errors import ConfigError, Fault
from finesweep.models.classifier import PLAIN, Classifier
from finesweep.system.foreign import calling

KEY = "model._target_"
WEIGHTS = "model.safetensors"


class PlainConfig(PretrainedConfig):
    """The labels, and no sizes: those are the module's own."""

    model_type = PLAIN


class PlainModel(PreTrainedModel):
    """A module in the form that trainers know: keywords in, an object with `logits` out.

    Its weights keep the names that the module gives them, in memory and in files; an adapter's are those that
    peft sees, with `module.` before them.

    Args:
        module: takes `input_ids`, of shape (batch, sequence), and `attention_mask` and `token_type_ids` where
            its forward names them; returns logits, or an object that has them.
        name: what made it, for messages.
        schema: the labels.
    """

    config_class = PlainConfig

    def __init__(self, module: nn.Module, name: str, schema: LabelSchema) -> None:
        labels = schema.id2label
        super().__init__(PlainConfig(id2label=labels, label2id={label: i for i, label in labels.items()}))
        self.module, self.name, self.labels = module, name, len(labels)
        self._takes = _names_taken(module)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Return logits of shape (batch, labels), or (batch, sequence, labels).

        Raises:
            ForeignError: the module raises.
            ConfigError: it gives something else than a number for each label.
        """
        given = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        with calling(KEY, self.name):
            found = self.module(**{name: given[name] for name in self._takes})
        logits = getattr(found, "logits", found)
        shape = getattr(logits, "shape", None)
        if shape is None or len(shape) < 2 or shape[0] != len(input_ids) or shape[-1] != self.labels:
            rule = (
                f"It must return logits of shape ({len(input_ids)}, {self.labels}), a number for each label."
            )
            raise ConfigError(Fault(KEY, rule, type(found).__name__ if shape is None else tuple(shape)))
        return SequenceClassifierOutput(logits=logits)

    def state_dict(self, *args: Any, **keywords: Any) -> Any:
        """Return the module's own; as a part of a PeftModel, which gives a prefix, what torch makes of it."""
        return (super() if keywords.get("prefix") else self.module).state_dict(*args, **keywords)

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Load it into the module."""
        return self.module.load_state_dict(state_dict, strict, assign)

    def save_pretrained(self, save_directory: Any, *_: Any, **__: Any) -> None:
        """Save config.json, and the module's state in safetensors."""
        from safetensors.torch import save_file

        folder = Path(save_directory)
        folder.mkdir(exist_ok=True)
        self.config.save_pretrained(folder)
        # Weights that share memory are saved each by its name: reading them back is then the same for all.
        state = {name: tensor.detach().clone().contiguous() for name, tensor in self.state_dict().items()}
        save_file(state, folder / WEIGHTS, metadata={"format": "pt"})


def as_classifier(made: Any, target: str, schema: LabelSchema) -> Classifier:
    """Return what a target of the user's own made as a classifier.

    Args:
        made: a Classifier, around a transformers model or a plain module; or a plain module alone.
        target: the dotted path that made it.
        schema: the labels.

    Raises:
        ConfigError: it is something else, or a module that takes no `input_ids`.
    """
    if isinstance(made, Classifier) and isinstance(made.model, PreTrainedModel):
        return made
    module: Any = made.model if isinstance(made, Classifier) else made
    if not isinstance(module, nn.Module) or "input_ids" not in _names_taken(module):
        rule = "It must give a module whose forward takes input_ids, or a finesweep Classifier"
        fix = "def forward(self, input_ids, attention_mask): return logits of shape (batch, labels)"
        raise ConfigError(Fault(KEY, f"{rule}; this is a {type(module).__name__}.", target, fix=fix))
    model: Any = PlainModel(module, target, schema)
    if isinstance(made, Classifier):
        return dataclasses.replace(made, model=model)
    return Classifier(model, (), name=target, revision=None)


def _names_taken(module: nn.Module) -> tuple[str, ...]:
    """Return those of a batch's columns that a module's forward names; all, where it takes any."""
    columns = ("input_ids", "attention_mask", "token_type_ids")
    parameters = inspect.signature(module.forward).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    return columns if takes_any else tuple(name for name in columns if name in parameters)
