"""A pretrained backbone with a fresh classification head."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep.data.labels import TOKENS, LabelSchema
from finesweep.errors import Fault, FinesweepError
from finesweep.paths import PACKAGE_SCHEME, HubModel, input_path

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Classifier:
    """A loaded model, and which of its modules started from random weights.

    Args:
        model: backbone and head.
        fresh_modules: names of the largest modules that hold nothing but newly initialised
            parameters: the head, and a pooler that the checkpoint lacks.
        name: what it was loaded from.
        revision: the hub commit it was loaded at, or what the config asked for.
    """

    model: PreTrainedModel
    fresh_modules: tuple[str, ...]
    name: str
    revision: str | None


def load_classifier(*, name: HubModel, schema: LabelSchema, revision: str | None = None) -> Classifier:
    """Load a backbone and put a head for the schema's labels on it.

    Args:
        name: a hub name, a folder in the hub's layout, or `package://NAME/SUBPATH`.
        schema: decides the head's size, the label names and the problem type.
        revision: a commit, tag or branch of the hub's model.

    Raises:
        FinesweepError: no such model, or one whose weights are not safetensors.
    """
    import transformers

    is_tokens = schema.problem_type == TOKENS
    kind = "AutoModelForTokenClassification" if is_tokens else "AutoModelForSequenceClassification"
    location = str(input_path(name)) if name.startswith(PACKAGE_SCHEME) else str(Path(name).expanduser())
    try:
        model, info = getattr(transformers, kind).from_pretrained(
            location,
            revision=revision,
            num_labels=len(schema.names),
            id2label=schema.id2label,
            label2id={label: i for i, label in schema.id2label.items()},
            problem_type=None if is_tokens else schema.problem_type,
            ignore_mismatched_sizes=True,  # the head of an already fine-tuned model may have other labels
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError) as error:
        rule = f"The model can't be loaded: {str(error).splitlines()[0]}"
        fix = "It needs config.json and model.safetensors (pickled weights are never read)."
        raise FinesweepError(Fault("model.name", rule, name, fix=fix)) from error
    fresh = {*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])}
    commit = getattr(model.config, "_commit_hash", None)
    return Classifier(model, _fresh_modules(model, fresh), name, commit or revision)


def _fresh_modules(model: PreTrainedModel, fresh_parameters: set[str]) -> tuple[str, ...]:
    found: list[str] = []
    for name, module in model.named_modules():
        parameters = [f"{name}.{parameter}" for parameter, _ in module.named_parameters()]
        inside = any(name.startswith(f"{outer}.") for outer in found)
        if name and not inside and parameters and fresh_parameters.issuperset(parameters):
            found.append(name)
    covered = [
        parameter for parameter in fresh_parameters if parameter.startswith(tuple(f"{m}." for m in found))
    ]
    assert len(covered) == len(fresh_parameters), "a fresh parameter outside every fresh module"
    return tuple(found)


def weights_fingerprint(model: PreTrainedModel, fresh_modules: tuple[str, ...]) -> str:
    """Hash the pretrained weights, the fresh head left out."""
    digest = hashlib.sha256()
    heads = tuple(f"{name}." for name in fresh_modules)
    for name, tensor in sorted(model.state_dict().items()):
        if not name.startswith(heads):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(dtype=_bytes_dtype()).numpy())
    return digest.hexdigest()


def _bytes_dtype():
    import torch

    return torch.uint8


def link_backbone(classifier: Classifier, folder: Path) -> None:
    """Make a folder that loads as this classifier's starting point: its config, and links to its weights.

    An adapter stores no label names and no head size; it points here instead, so that
    `AutoPeftModelForSequenceClassification.from_pretrained(RUN/adapter)` finds both.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    classifier.model.config.save_pretrained(folder)
    for weights in _weight_files(classifier):
        try:
            (folder / weights.name).symlink_to(weights.resolve())
        except OSError:  # a file system without links
            shutil.copyfile(weights, folder / weights.name)


def _weight_files(classifier: Classifier) -> list[Path]:
    from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME
    from transformers.utils.hub import cached_file

    location = (
        input_path(classifier.name)
        if classifier.name.startswith(PACKAGE_SCHEME)
        else Path(classifier.name).expanduser()
    )
    if location.is_dir():
        return sorted(location.glob("*.safetensors*"))
    for name in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME):
        found = cached_file(
            classifier.name, name, revision=classifier.revision, _raise_exceptions_for_missing_entries=False
        )
        if found:
            return sorted(Path(found).parent.glob("*.safetensors*"))
    raise AssertionError(f"{classifier.name} was loaded, but its weights are not in the hub's cache")


def load_weights(model: Any, folder: Path) -> None:
    """Put a run's saved weights, an adapter or a whole model, into a model that was prepared alike."""
    if hasattr(model, "peft_config"):
        from peft import load_peft_weights, set_peft_model_state_dict

        found = set_peft_model_state_dict(model, load_peft_weights(str(folder), device="cpu"))
        assert not found.unexpected_keys, found.unexpected_keys
    else:
        from safetensors.torch import load_file

        state = {
            key: value for file in folder.glob("*.safetensors") for key, value in load_file(file).items()
        }
        model.load_state_dict(state)
