"""A backbone, pretrained or random, with a fresh task head."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from finesweep.data.labels import TOKENS, LabelSchema
from finesweep.errors import ConfigError, Fault, FinesweepError
from finesweep.models import heads
from finesweep.models.classifier import Classifier
from finesweep.models.freezing import freeze
from finesweep.models.quantization import Quantization, settings_for
from finesweep.models.weights import copy_head
from finesweep.system.hub import cached_commit
from finesweep.system.paths import HubModel, InputPath, input_path, model_location

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Attention = Literal["eager", "sdpa", "flash_attention_2", "flex_attention"]
DType = Literal["float32", "bfloat16", "float16", "auto"]


def load_classifier(
    *,
    name: HubModel,
    schema: LabelSchema,
    revision: str | None = None,
    dtype: DType = "float32",
    attn_implementation: Attention | None = None,
    dropout: float | None = None,
    freeze_embeddings: bool = False,
    freeze_layers: int = 0,
    init_head_from: InputPath | None = None,
    quantization: Quantization | None = None,
    trust_remote_code: bool = False,
) -> Classifier:
    """Load a backbone and put a head for the schema's labels on it.

    Args:
        name: a hub name, a folder in the hub's layout, or `package://NAME/SUBPATH`.
        schema: decides the head's size, the label names and the problem type.
        revision: a commit, tag or branch of the hub's model.
        dtype: of the weights; `auto`: the checkpoint's own.
        attn_implementation: None: the best that this machine has.
        dropout: every dropout rate of the model, 0 to 1; None: the model's own.
        freeze_embeddings: keep the embeddings as they are, under full fine-tuning.
        freeze_layers: keep the embeddings and the first layers as they are.
        init_head_from: a run folder, or a model's or adapter's, whose head is copied; it has the same labels.
        quantization: of the frozen weights, by bitsandbytes; needs a GPU.
        trust_remote_code: run the Python files that come with the model.

    Raises:
        FinesweepError: no such model, one whose weights are not safetensors, or a head of other labels.
        ConfigError: what this model or this machine can't do.
    """
    settings = {
        "dtype": dtype,
        "attn_implementation": attn_implementation,
        "trust_remote_code": trust_remote_code,
        **_dropout_rates(name, revision, dropout, trust_remote_code),
    }
    model, info = _from_pretrained(name, schema, revision, settings)
    missing = {*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])}
    if quantization:
        skipped = heads.fresh_modules(model, missing) or ("classifier", "score")
        model, _ = _from_pretrained(name, schema, revision, settings | settings_for(quantization, skipped))
    names = _config(name, revision, trust_remote_code).id2label
    pretrained = heads.settle(model, names, schema, missing)
    fresh = heads.fresh_modules(model, {*missing, *pretrained.fresh})
    if init_head_from:
        copy_head(
            model, (*fresh, pretrained.kept) if pretrained.kept else fresh, schema, input_path(init_head_from)
        )
    frozen = freeze(model, embeddings=freeze_embeddings or freeze_layers > 0, layers=freeze_layers)
    return Classifier(
        model,
        fresh,
        name,
        cached_commit(name, revision) or revision,
        frozen,
        kept_head=pretrained.kept,
        note=pretrained.note,
    )


def random_classifier(
    *,
    name: HubModel,
    schema: LabelSchema,
    revision: str | None = None,
    sizes: dict[str, Any] | None = None,
    attn_implementation: Attention | None = None,
    dropout: float | None = None,
) -> Classifier:
    """Make a model of an architecture with random weights: what is pretraining worth?

    Args:
        name: where the architecture's config.json is.
        schema: as for `load_classifier`.
        revision: a commit, tag or branch of the hub's model.
        sizes: fields of its config to change, such as num_hidden_layers.
        attn_implementation: None: the best that this machine has.
        dropout: every dropout rate of the model, 0 to 1; None: the model's own.

    Raises:
        FinesweepError: no such model.
        ConfigError: a size that the architecture doesn't have.
    """
    config = _config(name, revision, trust_remote_code=False)
    if unknown := [field for field in sizes or {} if not hasattr(config, field)]:
        rule = f"A {config.model_type} has no such size."
        valid = tuple(field for field in config.to_dict() if re.search("size|num_|dim|n_", field))
        raise ConfigError(*(Fault("model.sizes", rule, field, valid=valid) for field in unknown))
    if sizes:  # a layer's kind is listed for each layer; a new number of layers needs a new list
        given = {**config.to_dict(), **sizes}
        config = type(config)(**{field: value for field, value in given.items() if field != "layer_types"})
    rates = _dropout_rates(name, revision, dropout, trust_remote_code=False)
    config.update({**_task_settings(schema), **rates})
    with _refusals(name):
        model = _auto_class(schema).from_config(config, attn_implementation=attn_implementation)
    inside = f"{model.base_model_prefix}."
    fresh = {key for key, _ in model.named_parameters() if not key.startswith(inside)}
    return Classifier(model, heads.fresh_modules(model, fresh), name, revision, is_random=True)


def saved_classifier(folder: Path, schema: LabelSchema) -> tuple[PreTrainedModel, set[str], set[str]]:
    """Load a model that finesweep saved, or what an adapter stands on: its config has head and labels.

    Returns:
        The model, the names of its parameters that no file gave, and those in a file that it doesn't have.
    """
    _check_kernels(str(folder))
    with _refusals(str(folder)):
        model, info = _auto_class(schema).from_pretrained(
            folder,
            use_safetensors=True,
            trust_remote_code=False,  # else transformers asks whoever sits at the terminal
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    missing = {*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])}
    return model, missing, set(info["unexpected_keys"])


def check_attention(attention: str | None, config: Any = None) -> None:
    """Refuse an attention that can't be trained with here: flex_attention has no gradients on a CPU.

    Args:
        attention: `attn_implementation`.
        config: the model's, when it is known: flex_attention drops nothing.

    Raises:
        ConfigError: it can't.
    """
    import torch

    if attention != "flex_attention":
        return
    key, fix = "model.attn_implementation", "Leave it out for the best that this machine has."
    if not torch.accelerator.is_available():
        raise ConfigError(Fault(key, "Training with it needs a GPU.", attention, fix=fix))
    rates = {field: value for field, value in (config.to_dict() if config else {}).items() if value}
    if drops := [field for field in rates if "dropout" in field and "att" in field]:
        rule = f"It has no dropout, and this model's {drops[0]} is {rates[drops[0]]}."
        raise ConfigError(Fault(key, rule, attention, fix="Add model.dropout=0, or leave it out."))


def _from_pretrained(
    name: str, schema: LabelSchema, revision: str | None, settings: dict[str, Any]
) -> tuple[PreTrainedModel, dict[str, Any]]:
    _check_kernels(name, revision)
    with _refusals(name):
        return _auto_class(schema).from_pretrained(
            model_location(name),
            revision=revision,
            ignore_mismatched_sizes=True,  # the head of an already fine-tuned model may have other labels
            use_safetensors=True,
            output_loading_info=True,
            **_task_settings(schema),
            **settings,
        )


def _auto_class(schema: LabelSchema) -> Any:
    import transformers

    is_tokens = schema.problem_type == TOKENS
    kind = "AutoModelForTokenClassification" if is_tokens else "AutoModelForSequenceClassification"
    return getattr(transformers, kind)


def _task_settings(schema: LabelSchema) -> dict[str, Any]:
    return {
        "num_labels": len(schema.names),
        "id2label": schema.id2label,
        "label2id": {label: i for i, label in schema.id2label.items()},
        "problem_type": None if schema.problem_type == TOKENS else schema.problem_type,
    }


@contextmanager
def _refusals(name: str) -> Iterator[None]:
    """Turn what transformers refuses into an error of ours."""
    try:
        yield
    except FinesweepError:
        raise
    except (OSError, ValueError, ImportError) as error:
        first = str(error).strip().splitlines()[0]
        if "trust_remote_code" in str(error):
            rule = "This model brings Python files of its own, which are never run unasked."
            fix = "If you trust its authors, add model.trust_remote_code=true to the command line."
        elif isinstance(error, ImportError) or "attn_implementation" in str(error):
            rule, fix = (
                f"The model can't be loaded like this: {first}",
                "Leave model.attn_implementation out.",
            )
        else:
            rule = f"The model can't be loaded: {first}"
            fix = "It needs config.json and model.safetensors (pickled weights are never read)."
        raise FinesweepError(Fault("model.name", rule, name, fix=fix)) from error


def _dropout_rates(
    name: str, revision: str | None, dropout: float | None, trust_remote_code: bool
) -> dict[str, float]:
    """Return every dropout rate of a model's config, set to `dropout`."""
    if dropout is None:
        return {}
    if not 0 <= dropout < 1:
        raise ConfigError(Fault("model.dropout", "It is a probability, below 1.", dropout))
    fields = _config(name, revision, trust_remote_code).to_dict().items()
    return {
        field: dropout for field, value in fields if "dropout" in field and isinstance(value, float | int)
    }


def _check_kernels(name: str, revision: str | None = None) -> None:
    """Refuse a checkpoint whose own config names kernels of the Hub: transformers would fetch and run them.

    Raises:
        FinesweepError: it does.
    """
    from transformers import PretrainedConfig

    with _refusals(name):
        content, _ = PretrainedConfig.get_config_dict(model_location(name), revision=revision)
    found = [value for value in _named(content, "_implementation") if "/" in str(value)]
    if found:
        rule = "Its config.json names code that would be fetched and run."
        fix = "Take attn_implementation out of that file; model.attn_implementation says which to use."
        raise FinesweepError(Fault("model.name", rule, found[0], fix=fix))


def _named(node: Any, ending: str) -> Iterator[Any]:
    for name, child in node.items() if isinstance(node, dict) else ():
        if str(name).endswith(ending):
            yield child
        yield from _named(child, ending)


def _config(name: str, revision: str | None, trust_remote_code: bool) -> Any:
    """Return a checkpoint's own config."""
    from transformers import AutoConfig

    _check_kernels(name, revision)
    with _refusals(name):
        return AutoConfig.from_pretrained(
            model_location(name), revision=revision, trust_remote_code=trust_remote_code
        )
