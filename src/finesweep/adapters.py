"""PEFT methods on a classifier: where they attach, and that every fresh parameter is trained."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finesweep.errors import ConfigError, Fault, nearest
from finesweep.models import Classifier

if TYPE_CHECKING:
    from torch import nn

# What a preset of `target_modules` stands for, as a pattern over module names, by the model's type.
_BERT = {
    "attention-qv": r".*\.attention\.self\.(query|value)",
    "attention": r".*\.attention\.(self\.(query|key|value)|output\.dense)",
    "mlp": r".*\.layer\.\d+\.(intermediate|output)\.dense",
    "all-linear": (
        r".*\.layer\.\d+\.(attention\.self\.(query|key|value)|(attention\.output|intermediate|output)\.dense)"
    ),
}
_DISTILBERT = {
    "attention-qv": r".*\.attention\.(q_lin|v_lin)",
    "attention": r".*\.attention\.(q|k|v|out)_lin",
    "mlp": r".*\.ffn\.lin[12]",
    "all-linear": r".*\.(attention\.(q|k|v|out)_lin|ffn\.lin[12])",
}
TARGETS: dict[str, dict[str, str]] = {
    "bert": _BERT,
    "camembert": _BERT,
    "distilbert": _DISTILBERT,
    "electra": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
}
PRESETS = tuple(_BERT)


@dataclass(frozen=True)
class FullFineTuning:
    """Train every weight of the backbone and the head."""


@dataclass(frozen=True)
class HeadOnly:
    """Freeze the backbone and train the fresh head alone (a linear probe)."""


@dataclass(frozen=True)
class Adapted:
    """A model ready to train.

    Args:
        model: a PeftModel, or the classifier itself for full fine-tuning and head-only.
        matched: how many modules of each name the method attached to.
        trainable: number of parameters that are trained.
        total: number of all parameters.
    """

    model: Any
    matched: dict[str, int]
    trainable: int
    total: int

    @property
    def is_peft(self) -> bool:
        """Whether the model saves an adapter, rather than all of its weights."""
        return hasattr(self.model, "peft_config")


def attach(classifier: Classifier, method: Any) -> Adapted:
    """Attach a method to a classifier, with its head always trained and saved.

    Args:
        classifier: is changed in place.
        method: a `peft.PeftConfig`, FullFineTuning or HeadOnly.

    Raises:
        ConfigError: a target that matches no module, or a preset without patterns for this model.
    """
    if isinstance(method, FullFineTuning):
        return _adapted(classifier, classifier.model, {})
    if isinstance(method, HeadOnly):
        for parameter in classifier.model.parameters():
            parameter.requires_grad_(False)
        for name in classifier.fresh_modules:
            classifier.model.get_submodule(name).requires_grad_(True)
        return _adapted(classifier, classifier.model, {})
    from peft import TaskType, get_peft_model

    matched = _resolve_targets(classifier, method)
    is_tokens = type(classifier.model).__name__.endswith("ForTokenClassification")
    method.task_type = TaskType.TOKEN_CLS if is_tokens else TaskType.SEQ_CLS
    method.modules_to_save = sorted({*(method.modules_to_save or ()), *classifier.fresh_modules})
    return _adapted(classifier, get_peft_model(classifier.model, method), matched)


def _adapted(classifier: Classifier, model: nn.Module, matched: dict[str, int]) -> Adapted:
    parameters = dict(model.named_parameters())
    for fresh in classifier.fresh_modules:
        trained = [name for name, p in parameters.items() if f".{fresh}." in f".{name}" and p.requires_grad]
        assert trained, f"the fresh module {fresh} would stay at its random weights"
    trainable = sum(p.numel() for p in parameters.values() if p.requires_grad)
    return Adapted(model, matched, trainable, sum(p.numel() for p in parameters.values()))


def _resolve_targets(classifier: Classifier, method: Any) -> dict[str, int]:
    """Expand a preset in place, and count the modules that each target matches."""
    if not hasattr(method, "target_modules"):
        return {}
    targets = method.target_modules
    if targets is None or targets in PRESETS:
        targets = method.target_modules = _preset(classifier, targets or "attention-qv")
    heads = tuple(f"{name}." for name in classifier.fresh_modules)
    candidates = [
        name for name, module in classifier.model.named_modules() if name and not list(module.children())
    ]
    outside = [name for name in candidates if not f"{name}.".startswith(heads)]
    if isinstance(targets, str):
        matched = [name for name in outside if re.fullmatch(targets, name)]
        unmatched = [] if matched else [targets]
    else:
        by_target = {t: [n for n in outside if n == t or n.endswith(f".{t}")] for t in sorted(targets)}
        matched = [name for names in by_target.values() for name in names]
        unmatched = [target for target, names in by_target.items() if not names]
    if unmatched:
        raise ConfigError(*(_no_match(target, outside, classifier) for target in unmatched))
    return dict(Counter(_without_layer(name) for name in matched))


def _preset(classifier: Classifier, preset: str) -> str:
    model_type = classifier.model.config.model_type
    if model_type not in TARGETS:
        rule = f"The presets have no patterns for models of type `{model_type}`."
        fix = "Name its modules: peft.target_modules=[query,value]."
        raise ConfigError(Fault("peft.target_modules", rule, preset, valid=tuple(TARGETS), fix=fix))
    return TARGETS[model_type][preset]


def _no_match(target: str, modules: list[str], classifier: Classifier) -> Fault:
    names = sorted(
        {name.rpartition(".")[2] for name in modules if not name.endswith(("LayerNorm", "dropout"))}
    )
    rule = f"It matches no module of {classifier.name}. {nearest(target, [*names, *PRESETS])}".strip()
    return Fault("peft.target_modules", rule, target, valid=(*PRESETS, *names))


def _without_layer(name: str) -> str:
    return re.sub(r"^.*\.layers?\.\d+\.", "", name)
