"""Whether a PEFT method can do what it should on a model."""

from __future__ import annotations

from typing import Any

from finesweep.errors import ConfigError, Fault
from finesweep.models import capabilities
from finesweep.models.classifier import Classifier

# LoRA's starting points that take a part out of the frozen weights.
MUTATING_INITS = ("pissa", "olora", "corda")


def check_plain(classifier: Classifier, method: Any) -> None:
    """Refuse a method that would have to know where the parts of a plain module are.

    Raises:
        ConfigError: with how to name them.
    """
    if not hasattr(method, "target_modules"):
        rule = "A plain torch module is trained whole, or by a method whose targets are modules."
        fix = "peft=none, or peft=lora 'peft.target_modules=[words]' '+peft.modules_to_save=[head]'"
        raise ConfigError(Fault("peft", rule, type(method).__name__, fix=fix))
    if not classifier.head and not method.modules_to_save:
        rule = "Which part of a plain torch module is its head isn't known: it must be named."
        raise ConfigError(Fault("peft.modules_to_save", rule, None, fix="+peft.modules_to_save=[head]"))
    if takes_weights_out(method):
        rule = "A plain torch module's weights are saved as they are when training begins."
        raise ConfigError(Fault("peft.init_lora_weights", rule, method.init_lora_weights))


def check(classifier: Classifier, method: Any) -> None:
    """Refuse a method that can't do what it should on a model.

    Raises:
        ConfigError: what stands in the way.
    """
    _check_saved(classifier, method)
    capabilities.check(
        method.peft_type.value, classifier.model.config.model_type, tokens=classifier.is_tokens
    )
    if classifier.frozen:
        rule = "A PEFT method freezes the whole backbone by itself."
        fix = "They are for peft=none. To adapt some layers only: peft.layers_to_transform=[4,5]."
        keys = "model.freeze_layers, model.freeze_embeddings"
        raise ConfigError(Fault(keys, rule, ", ".join(classifier.frozen), fix=fix))
    if getattr(method, "layer_replication", None):
        rule = "A model with more layers than its file doesn't come back from its folder."
        fix = "Leave it out; model=random-init with model.sizes makes a deeper model."
        raise ConfigError(Fault("peft.layer_replication", rule, method.layer_replication, fix=fix))
    if not takes_weights_out(method):
        return
    if method.use_dora or method.rank_pattern or method.alpha_pattern:
        rule = "It can't be saved as a plain LoRA together with use_dora, rank_pattern or alpha_pattern."
        raise ConfigError(Fault("peft.init_lora_weights", rule, method.init_lora_weights))
    if classifier.is_random:
        rule = "It starts from what pretrained weights hold; random ones hold nothing."
        raise ConfigError(Fault("peft.init_lora_weights", rule, method.init_lora_weights))


def takes_weights_out(method: Any) -> bool:
    """Say whether a method starts from a part of the frozen weights, which it takes out of them."""
    return str(getattr(method, "init_lora_weights", "")).startswith(MUTATING_INITS)


def _check_saved(classifier: Classifier, method: Any) -> None:
    """Refuse a module that should be trained whole and isn't there: peft passes it over in silence."""
    modules = [name for name, _ in classifier.model.named_modules() if name]
    unknown = [key for key in method.modules_to_save or () if not any(name.endswith(key) for name in modules)]
    valid = tuple(sorted({name.rpartition(".")[2] for name in modules} - set(map(str, range(len(modules))))))
    rule = f"It matches no module of {classifier.name}."
    if unknown:
        raise ConfigError(*(Fault("peft.modules_to_save", rule, key, valid=valid) for key in unknown))
