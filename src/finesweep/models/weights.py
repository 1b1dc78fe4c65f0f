"""Weights in files: a run's own, those it stands on, and a head that another run has trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep.data.labels import LabelSchema
from finesweep.errors import ConfigError, Fault, FinesweepError
from finesweep.models.classifier import Classifier
from finesweep.models.peft_insides import lacking_part, original_name, without_place
from finesweep.system.files import numbers_alone
from finesweep.system.hub import cached_file
from finesweep.system.paths import model_location

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

PEFT_PREFIX = "base_model.model."
NAMED = 5
PROMPT = "prompt_encoder.safetensors"


def link_backbone(classifier: Classifier, folder: Path) -> None:
    """Make a folder that loads as this classifier's starting point: its config, and links to its weights.

    An adapter stores no label names and no head size; it points here instead, so that
    `AutoPeftModelForSequenceClassification.from_pretrained(RUN/adapter)` finds both.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    classifier.model.config.save_pretrained(folder)
    if classifier.is_random or classifier.is_plain:  # there is no other file of them
        from safetensors.torch import save_file

        state = {name: tensor.clone().contiguous() for name, tensor in _first_state(classifier.model).items()}
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        return
    for weights in _weight_files(classifier):
        try:
            (folder / weights.name).symlink_to(weights.resolve())
        except OSError:  # a file system without links
            shutil.copyfile(weights, folder / weights.name)


def _first_state(model: PreTrainedModel) -> dict[str, Tensor]:
    """Return the backbone's weights, a plain module's all, as before a PEFT method wrapped its layers."""
    inside = f"{model.base_model_prefix}." if model.base_model_prefix else ""
    return {
        original: tensor
        for name, tensor in model.state_dict().items()
        if name.startswith(inside) and (original := original_name(name))
    }


def _weight_files(classifier: Classifier) -> list[Path]:
    from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

    location = Path(model_location(classifier.name))
    if location.is_dir():
        return sorted(location.glob("*.safetensors*"))
    for name in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME):
        if found := cached_file(classifier.name, name, classifier.revision):
            return sorted(found.parent.glob("*.safetensors*"))
    raise AssertionError(f"{classifier.name} was loaded, but its weights are not in the hub's cache")


@contextmanager
def without_card(model: Any) -> Iterator[None]:
    """Let a model save no README.md, as checkpoints need none: peft compiles its template for each anew."""
    if not hasattr(model, "peft_config"):
        yield
        return
    model.create_or_update_model_card = lambda output_dir: None
    try:
        yield
    finally:
        del model.create_or_update_model_card


def save_prompt(model: Any, folder: Path) -> None:
    """Add to a checkpoint the network that makes a prompt; peft saves what the network makes.

    Args:
        model: with any method, or none.
        folder: of the checkpoint.
    """
    if getattr(model, "prompt_encoder", None):
        from safetensors.torch import save_file

        save_file(model.prompt_encoder.state_dict(), folder / PROMPT)


def load_prompt(model: Any, folder: Path) -> None:
    """Read what `save_prompt` wrote."""
    if (folder / PROMPT).is_file():
        from safetensors.torch import load_file

        model.prompt_encoder.load_state_dict(load_file(folder / PROMPT))


def load_adapter(model: Any, folder: Path, fresh: Iterable[str] = ()) -> Any:
    """Put a saved adapter on a model; each of its weights must find its place, and none may be lacking.

    Args:
        model: what the adapter stands on.
        folder: of the adapter.
        fresh: names of the model's parameters that no file has given yet; the adapter's must have them.

    Returns:
        A PeftModel.

    Raises:
        FinesweepError: a weight that is missing, or that the model doesn't have.
    """
    from peft import PeftModel, get_peft_model_state_dict

    saved = _read(folder).keys()
    try:
        with numbers_alone(folder):
            adapted = PeftModel.from_pretrained(model, str(folder))
    except KeyError as error:  # a part of the head that the file lacks
        parts = dict(model.named_children())
        foreign = [name for name in saved if _name_in_model(name).partition(".")[0] not in parts]
        check_complete(folder, [lacking_part(error)], foreign)
        raise
    wanted = get_peft_model_state_dict(adapted, save_embedding_layers=False).keys()
    missing = {*(wanted - saved), *(set(fresh) - set(map(_name_in_model, saved)))}
    check_complete(folder, missing, saved - wanted)
    return adapted


def _name_in_model(name: str) -> str:
    return name.removeprefix(PEFT_PREFIX).removeprefix("base_model.")


def check_complete(folder: Path, missing: Iterable[str], unexpected: Iterable[str]) -> None:
    """Refuse weights that don't fit the model that they were loaded into: some of it would be random.

    Raises:
        FinesweepError: with their names.
    """
    parts = [
        f"{what} {', '.join(sorted(names)[:NAMED])}"
        for what, names in (("missing are", [*missing]), ("without a place are", [*unexpected]))
        if names
    ]
    if parts:
        rule = f"These weights don't fit the model that its config speaks of: {'; '.join(parts)}."
        fix = "A model of a class of your own is loaded by your own code; a damaged file, by training anew."
        raise FinesweepError(Fault(str(folder), rule, fix=fix))


def load_weights(model: Any, folder: Path) -> None:
    """Put saved weights, an adapter's or a whole model's, into a model that was prepared alike.

    Args:
        model: a PeftModel, or the classifier itself.
        folder: of a checkpoint, or of a model that no method was attached to.

    Raises:
        FinesweepError: a weight that is missing, of another shape, or that the model doesn't have.
    """
    if hasattr(model, "peft_config"):
        from peft import load_peft_weights, set_peft_model_state_dict

        found = set_peft_model_state_dict(model, load_peft_weights(str(folder), device="cpu"))
        unknown = without_place(found)
        assert not unknown, unknown
        load_prompt(model, folder)
    else:
        state, wanted = _read(folder), model.state_dict()
        missing = [
            name for name, own in wanted.items() if name not in state or state[name].shape != own.shape
        ]
        check_complete(folder, missing, state.keys() - wanted.keys())
        model.load_state_dict(state)


def copy_head(
    model: PreTrainedModel, fresh_modules: Iterable[str], schema: LabelSchema, source: Path
) -> None:
    """Copy a trained head into a model's fresh modules.

    Args:
        model: is changed in place.
        fresh_modules: names of the head's modules.
        schema: of the model's labels, which must be the source's, in the same order.
        source: a run folder, or a folder of a saved model or adapter.

    Raises:
        ConfigError: the source has other labels, or no head of this shape.
    """
    folder = source / "adapter" if (source / "adapter").is_dir() else source
    labels = _labels_of(source)
    if labels is not None and labels != list(schema.names):
        rule = f"Its labels are {', '.join(labels)}; these data have {', '.join(schema.names)}."
        raise ConfigError(Fault("model.init_head_from", rule, str(source)))
    found = {name.removeprefix(PEFT_PREFIX): tensor for name, tensor in _read(folder).items()}
    heads = tuple(f"{name}." for name in fresh_modules)
    wanted = {name: tensor for name, tensor in model.named_parameters() if name.startswith(heads)}
    missing = [
        name for name, tensor in wanted.items() if name not in found or found[name].shape != tensor.shape
    ]
    if missing:
        rule = f"It has no {', '.join(missing)} of the shape that this model's head has."
        fix = "Name a run folder of the same kind of model and task."
        raise ConfigError(Fault("model.init_head_from", rule, str(source), fix=fix))
    for name, tensor in wanted.items():
        tensor.data.copy_(found[name])


def _read(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return {key: value for file in folder.glob("*.safetensors") for key, value in load_file(file).items()}


def _labels_of(source: Path) -> list[str] | None:
    """Return the label names that a run, or a saved model, has in its files."""
    for file in (
        source / "backbone" / "config.json",
        source / "adapter" / "config.json",
        source / "config.json",
    ):
        if file.is_file():
            names = json.loads(file.read_text(encoding="utf-8")).get("id2label") or {}
            return [names[key] for key in sorted(names, key=int)] or None
    return None
