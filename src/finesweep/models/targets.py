"""Which modules of an encoder a PEFT method attaches to: presets for each family, patterns, names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finesweep.errors import ConfigError, Fault, nearest

if TYPE_CHECKING:
    from finesweep.models.classifier import Classifier


@dataclass(frozen=True)
class Layer:
    """How the modules of one encoder layer are called: patterns for the end of a module's name."""

    query: str
    key: str
    value: str
    output: str
    up: str
    down: str
    norms: str


_BERT = Layer(
    query=r"attention\.self\.query",
    key=r"attention\.self\.key",
    value=r"attention\.self\.value",
    output=r"attention\.output\.dense",
    up=r"intermediate\.dense",
    down=r"layer\.\d+\.output\.dense",
    norms=r"layer\.\d+\.(attention\.)?output\.LayerNorm",
)
LAYERS = {
    "albert": Layer(
        query=r"attention\.query",
        key=r"attention\.key",
        value=r"attention\.value",
        output=r"attention\.dense",
        up="ffn",
        down="ffn_output",
        norms=r"attention\.LayerNorm|full_layer_layer_norm",
    ),
    "bert": _BERT,
    "camembert": _BERT,
    "deberta-v2": Layer(
        query=r"attention\.self\.query_proj",
        key=r"attention\.self\.key_proj",
        value=r"attention\.self\.value_proj",
        output=_BERT.output,
        up=_BERT.up,
        down=_BERT.down,
        norms=_BERT.norms,
    ),
    "distilbert": Layer(
        query=r"attention\.q_lin",
        key=r"attention\.k_lin",
        value=r"attention\.v_lin",
        output=r"attention\.out_lin",
        up=r"ffn\.lin1",
        down=r"ffn\.lin2",
        norms="sa_layer_norm|output_layer_norm",
    ),
    "electra": _BERT,
    "eurobert": Layer(
        query=r"self_attn\.q_proj",
        key=r"self_attn\.k_proj",
        value=r"self_attn\.v_proj",
        output=r"self_attn\.o_proj",
        up=r"mlp\.(gate|up)_proj",
        down=r"mlp\.down_proj",
        norms="input_layernorm|post_attention_layernorm",
    ),
    "modernbert": Layer(  # query, key and value are one matrix
        query=r"attn\.Wqkv",
        key=r"attn\.Wqkv",
        value=r"attn\.Wqkv",
        output=r"attn\.Wo",
        up=r"mlp\.Wi",
        down=r"mlp\.Wo",
        norms=r"layers\.([1-9]\d*\.attn_norm|\d+\.mlp_norm)",  # the first layer has no attn_norm
    ),
    "mpnet": Layer(
        query=r"attention\.attn\.q",
        key=r"attention\.attn\.k",
        value=r"attention\.attn\.v",
        output=r"attention\.attn\.o",
        up=_BERT.up,
        down=_BERT.down,
        norms=r"attention\.LayerNorm|layer\.\d+\.output\.LayerNorm",
    ),
    "roberta": _BERT,
    "xlm-roberta": _BERT,
}
PRESETS: dict[str, tuple[str, ...]] = {
    "attention-qv": ("query", "value"),
    "attention-kv": ("key", "value"),
    "attention": ("query", "key", "value", "output"),
    "mlp": ("up", "down"),
    "mlp-output": ("down",),
    "all-linear": ("query", "key", "value", "output", "up", "down"),
    "layer-norms": ("norms",),
}
LAYER_NUMBER = re.compile(r"\.layers?\.(\d+)\.")


def resolve(classifier: Classifier, method: Any) -> list[str]:
    """Put a method's targets into peft's terms, in place, and return the modules that they match.

    Args:
        classifier: whose modules; its fresh head is never a target.
        method: a `peft.PeftConfig`; one without `target_modules` matches nothing.

    Raises:
        ConfigError: a target that matches no module, a preset without patterns for this model, or layers
            that it doesn't have.
    """
    if not hasattr(method, "target_modules"):
        return []
    targets = method.target_modules
    layers = getattr(method, "layers_to_transform", None)
    given = [targets or "attention-qv"] if targets is None or isinstance(targets, str) else sorted(targets)
    may_be_pattern = isinstance(targets, str) or layers is not None
    modules = _leaves(classifier)
    matched_by = {target: _matches(classifier, target, modules, may_be_pattern) for target in given}
    if unmatched := [target for target, names in matched_by.items() if not names]:
        raise ConfigError(*(_no_match(target, modules, classifier) for target in unmatched))
    matched = [name for name in modules if any(name in names for names in matched_by.values())]
    if layers is not None:
        matched = _in_layers(matched, [layers] if isinstance(layers, int) else list(layers), classifier)
        method.target_modules, method.layers_to_transform = matched, None
    elif len(given) == 1 and given[0] in PRESETS:
        method.target_modules = _pattern(classifier, given[0])
    elif any(target in PRESETS for target in given):
        method.target_modules = matched
    feedforward = getattr(method, "feedforward_modules", None)
    if isinstance(feedforward, str) and feedforward in PRESETS:
        method.feedforward_modules = _pattern(classifier, feedforward)
    return matched


def grouped_name(module: str) -> str:
    """Return a module's name within its layer: "attention.self.query"."""
    return re.sub(r"^.*(\.layers?\.\d+|albert_layers\.\d+)\.", "", module)


def _leaves(classifier: Classifier) -> list[str]:
    heads = tuple(f"{name}." for name in classifier.head)
    return [
        name
        for name, module in classifier.model.named_modules()
        if name and not list(module.children()) and not f"{name}.".startswith(heads)
    ]


def _matches(classifier: Classifier, target: str, modules: Iterable[str], may_be_pattern: bool) -> list[str]:
    """Return the modules that a preset, a pattern or a name stands for."""
    if target in PRESETS:
        target, may_be_pattern = _pattern(classifier, target), True
    try:
        re.compile(target)
    except re.error as error:
        rule = f"It is no name, preset or regular expression: {error}."
        raise ConfigError(Fault("peft.target_modules", rule, target, valid=tuple(PRESETS))) from None
    return [
        name
        for name in modules
        if (may_be_pattern and re.fullmatch(target, name)) or name == target or name.endswith(f".{target}")
    ]


def _pattern(classifier: Classifier, preset: str) -> str:
    model_type = classifier.model.config.model_type
    if model_type not in LAYERS:
        rule = f"The presets have no patterns for models of type `{model_type}`."
        fix = "Name its modules: peft.target_modules=[query,value]."
        raise ConfigError(Fault("peft.target_modules", rule, preset, valid=tuple(LAYERS), fix=fix))
    parts = dict.fromkeys(getattr(LAYERS[model_type], part) for part in PRESETS[preset])
    return rf".*\.({'|'.join(parts)})"


def _in_layers(modules: Sequence[str], layers: Sequence[int], classifier: Classifier) -> list[str]:
    numbers = {name: int(found[1]) for name in modules if (found := LAYER_NUMBER.search(name))}
    unknown = sorted(set(layers) - set(numbers.values()))
    if unknown or not numbers:
        key, count = "peft.layers_to_transform", max(numbers.values(), default=-1) + 1
        rule = f"{classifier.name} has layers 0 to {count - 1}." if count else "Its layers have no numbers."
        raise ConfigError(Fault(key, rule, list(layers), fix="Leave it out to adapt every layer."))
    return [name for name, number in numbers.items() if number in layers]


def _no_match(target: str, modules: Iterable[str], classifier: Classifier) -> Fault:
    names = sorted(
        {name.rpartition(".")[2] for name in modules if not name.endswith(("LayerNorm", "dropout"))}
    )
    rule = f"It matches no module of {classifier.name}. {nearest(target, [*names, *PRESETS])}".strip()
    return Fault("peft.target_modules", rule, target, valid=(*PRESETS, *names))
