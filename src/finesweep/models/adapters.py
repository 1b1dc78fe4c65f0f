"""PEFT methods on a classifier: attached, with every fresh parameter trained and saved."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep.errors import ConfigError, Fault
from finesweep.models import pairing, targets
from finesweep.models.classifier import Classifier
from finesweep.models.peft_insides import is_first_copy, plain_name
from finesweep.models.weights import load_adapter, load_weights, without_card

if TYPE_CHECKING:
    from torch import Tensor, nn

WHOLE_HEADS = ("classifier.", "score.")


@dataclass(frozen=True)
class FullFineTuning:
    """Train every weight of the backbone and the head."""


@dataclass(frozen=True)
class HeadOnly:
    """Freeze the backbone and train the fresh head alone (a linear probe)."""


@dataclass(frozen=True)
class BitFit:
    """Train the backbone's biases and the fresh head (Ben Zaken et al. 2021, arXiv:2106.10199)."""


@dataclass(frozen=True)
class Adapted:
    """A model ready to train.

    Args:
        model: a PeftModel, or the classifier itself for full fine-tuning, head-only and BitFit.
        matched: how many modules of each name the method attached to.
        trainable: number of parameters that are trained.
        total: number of all parameters.
        initial: what the adapter's matrices started from, where that was taken out of the frozen weights.
    """

    model: Any
    matched: dict[str, int]
    trainable: int
    total: int
    initial: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def is_peft(self) -> bool:
        """Whether the model saves an adapter, rather than all of its weights."""
        return hasattr(self.model, "peft_config")

    @property
    def saved_bytes(self) -> int:
        """Size of what `save` writes, without its few KiB of JSON."""
        if not self.is_peft:
            return sum(tensor.nbytes for tensor in self.model.state_dict().values())
        from peft import get_peft_model_state_dict

        state = get_peft_model_state_dict(self.model, save_embedding_layers=False)
        return sum(tensor.nbytes for tensor in (*state.values(), *self.initial.values()))

    @property
    def virtual_tokens(self) -> int:
        """Tokens that the method puts before each text."""
        configs = self.model.peft_config.values() if self.is_peft else ()
        return sum(getattr(config, "num_virtual_tokens", None) or 0 for config in configs)

    def save(self, folder: Path) -> None:
        """Save the adapter, or the whole model, so that plain `from_pretrained` loads it.

        PiSSA and its kin are saved as the LoRA of twice the rank that does the same to the original
        weights: their own matrices mean nothing without the very weights that they were taken out of.
        """
        with without_card(self.model):  # peft's has gaps to be filled in; runs/card.py writes one
            self.model.save_pretrained(folder)
        if self.initial:
            _save_as_plain_lora(self.model, self.initial, folder)


def with_listed_targets(node: dict[str, Any]) -> dict[str, Any]:
    """Return a method's config with its one target in a list where peft wants one: beside layer numbers."""
    target = node.get("target_modules")
    if isinstance(target, str) and node.get("layers_to_transform") is not None:
        return {**node, "target_modules": [target]}
    return node


def attach(classifier: Classifier, method: Any) -> Adapted:
    """Attach a method to a classifier, with its head always trained and saved.

    Args:
        classifier: is changed in place.
        method: a `peft.PeftConfig`, FullFineTuning, HeadOnly or BitFit.

    Raises:
        ConfigError: a target that matches no module, a preset without patterns for this model, a method
            that is known not to work on it, or one that refuses its settings.
    """
    model = classifier.model
    if isinstance(method, FullFineTuning):
        return _adapted(classifier, model)
    if classifier.is_plain:
        pairing.check_plain(classifier, method)
    if isinstance(method, (HeadOnly, BitFit)):
        _train_only(classifier, biases=isinstance(method, BitFit))
        return _adapted(classifier, model)
    from peft import TaskType, get_peft_model

    pairing.check(classifier, method)
    matched = targets.resolve(classifier, method)
    method.task_type = TaskType.TOKEN_CLS if classifier.is_tokens else TaskType.SEQ_CLS
    if classifier.is_plain:
        method.task_type = None  # each of peft's tasks gives a model more than such a module takes
    # peft saves these whole, whether it is asked to or not, and can't read back a part of one beside it.
    head = {name.partition(".")[0] if name.startswith(WHOLE_HEADS) else name for name in classifier.head}
    method.modules_to_save = sorted({*(method.modules_to_save or ()), *head})
    try:
        attached = get_peft_model(model, method)
    except (ValueError, TypeError, NotImplementedError, AssertionError) as error:
        raise ConfigError(Fault("peft", f"peft refuses it: {error}", type(method).__name__)) from error
    initial = _matrices(attached) if pairing.takes_weights_out(method) else {}
    counts = Counter(targets.grouped_name(name) for name in matched)
    return _adapted(classifier, attached, dict(counts), initial)


def reattach(classifier: Classifier, folder: Path) -> Adapted:
    """Put a saved adapter, or a saved model's weights, on a classifier: for prediction, not for training.

    Args:
        classifier: loaded as it was for the run that saved the folder.
        folder: what `Adapted.save` wrote.
    """
    if not (folder / "adapter_config.json").is_file():
        load_weights(classifier.model, folder)
        return _adapted(classifier, classifier.model)
    model = load_adapter(classifier.model, folder)
    return Adapted(model, {}, 0, sum(parameter.numel() for parameter in model.parameters()))


def merged(model: Any) -> nn.Module:
    """Return a plain model, without peft in it, that predicts what an adapted one does.

    peft's own `merge_and_unload` stops at RoBERTa's head, whose parts are no targets.

    Args:
        model: a PeftModel; its weights are merged in place.

    Raises:
        AttributeError: the method can't be merged: prompts are no weights.
    """
    model.merge_adapter()
    base = model.get_base_model()
    config = type(base.config).from_dict(base.config.to_dict())  # without the attention of a speed-up
    plain = type(base)(config).to(device=base.device, dtype=base.dtype)
    wanted = plain.state_dict()
    found = {
        plain_name(name): tensor for name, tensor in base.state_dict().items() if not is_first_copy(name)
    }
    plain.load_state_dict({name: tensor for name, tensor in found.items() if name in wanted})
    return plain


def _train_only(classifier: Classifier, *, biases: bool) -> None:
    """Freeze all but the head and, if wanted, the biases that aren't frozen yet."""
    heads = tuple(f"{name}." for name in classifier.head)
    found = 0
    for name, parameter in classifier.model.named_parameters():
        is_bias = name.rpartition(".")[2] == "bias" and parameter.requires_grad
        found += is_bias and not name.startswith(heads)
        parameter.requires_grad_(name.startswith(heads) or (biases and is_bias))
    if biases and not found:
        rule = f"{classifier.name} has no biases that could be trained."
        raise ConfigError(Fault("peft", rule, "BitFit", fix="Choose peft=lora."))


def _adapted(
    classifier: Classifier,
    model: nn.Module,
    matched: dict[str, int] | None = None,
    initial: Mapping[str, Tensor] | None = None,
) -> Adapted:
    parameters = {plain_name(name): parameter for name, parameter in model.named_parameters()}
    for fresh in classifier.head:
        own = [name for name in parameters if f".{fresh}." in f".{name}" and not is_first_copy(name)]
        frozen = [name for name in own if not parameters[name].requires_grad]
        assert own, f"the head {fresh} is gone"
        assert not frozen, f"{frozen} of the head would stay as they are"
    trainable = sum(p.numel() for p in parameters.values() if p.requires_grad)
    total = sum(p.numel() for p in parameters.values())
    return Adapted(model, matched or {}, trainable, total, initial or {})


def _save_as_plain_lora(model: Any, initial: Mapping[str, Tensor], folder: Path) -> None:
    """Overwrite a saved adapter: B A - B0 A0 is what it adds to the original weights.

    peft's own conversion leaves the head out of the file.
    """
    import torch
    from peft import get_peft_model_state_dict
    from peft.utils import SAFETENSORS_WEIGHTS_NAME
    from safetensors.torch import save_file

    state = {name: tensor.cpu() for name, tensor in get_peft_model_state_dict(model).items()}
    for name, start in initial.items():  # as they were drawn, which is on the CPU
        if "lora_A" in name:
            state[name] = torch.cat([state[name], start])
        elif "lora_B" in name:
            state[name] = torch.cat([state[name], -start], dim=1)
    save_file(state, folder / SAFETENSORS_WEIGHTS_NAME, metadata={"format": "pt"})
    config = copy.deepcopy(model.active_peft_config)
    config.r *= 2
    config.lora_alpha *= 2**0.5 if config.use_rslora else 2
    config.init_lora_weights, config.inference_mode = True, True
    config.save_pretrained(str(folder))


def _matrices(model: Any) -> dict[str, Tensor]:
    from peft import get_peft_model_state_dict

    state = get_peft_model_state_dict(model)
    return {name: tensor.detach().clone() for name, tensor in state.items() if "lora_" in name}
