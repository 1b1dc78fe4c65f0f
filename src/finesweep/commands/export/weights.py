"""A run's weights for others: merged into one model, or the adapter with the name of what it stands on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep.commands.export import Form
from finesweep.commands.export.origin import Base
from finesweep.data.labels import REGRESSION
from finesweep.errors import Fault, FinesweepError
from finesweep.models.peft_insides import is_first_copy

if TYPE_CHECKING:
    from torch import nn

    from finesweep.runs.saved import SavedRun

# What peft reads; its own README is an empty form.
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


def plain_model(run: SavedRun) -> Any:
    """Return a run's model as others load it: without peft where it can be, a number in the target's units.

    Raises:
        FinesweepError: a head that the units can't be put into.
    """
    model: Any = run.plain_model()
    if run.schema.problem_type == REGRESSION:
        model = model.float()  # a mean of 1,000 in bfloat16 is right to 4
        put_units_into(model, run.schema.mean, run.schema.scale)
    settings: dict[str, Any] = {"max_length": run.encoder().max_length}
    if run.thresholds:
        settings["thresholds"] = list(run.thresholds)
    model.config.finesweep = settings
    return model


def check_form(run: SavedRun, form: Form) -> None:
    """Make sure that a run can be had in a form.

    Raises:
        FinesweepError: no adapter, one that can't be merged, or one whose base is in no file.
    """
    if run.is_plain:
        rule = "Its model is a plain torch module, which no other library can load."
        folder = run.folder.backbone if run.is_adapter else run.folder.adapter
        beside = f", and its adapter in {run.folder.adapter}" if run.is_adapter else ""
        fix = f"Its state is in {folder}/model.safetensors, under the module's own names{beside}."
        raise FinesweepError(Fault("--to", rule, form.value, fix=fix))
    kind = str(run.setting("peft._target_")).rpartition(".")[2].removesuffix("Config")
    if form is Form.merged and run.is_adapter and not run.merges:
        rule = f"{kind} can't be merged: what it adds is no weight of the model."
        raise FinesweepError(Fault("--to", rule, form.value, valid=("adapter", "onnx")))
    if form is Form.adapter and not run.is_adapter:
        rule = f"{kind} trains the model itself; there is no adapter."
        raise FinesweepError(Fault("--to", rule, form.value, valid=("merged", "onnx")))
    if form is Form.adapter and Base.of(run).kind == "random":
        rule = "The model started from random weights: nobody has what the adapter stands on."
        raise FinesweepError(Fault("--to", rule, form.value, valid=("merged", "onnx")))


def write_merged(run: SavedRun, folder: Path) -> None:
    """Write a model that `AutoModelFor....from_pretrained` loads."""
    plain_model(run).save_pretrained(folder)


def write_adapter(run: SavedRun, folder: Path) -> None:
    """Write the adapter, with the name of what it stands on instead of a path in the run's folder."""
    base = Base.of(run)
    for name in ADAPTER_FILES:
        shutil.copy(run.folder.adapter / name, folder)
    file = folder / ADAPTER_FILES[0]
    config = json.loads(file.read_text())
    config |= {"base_model_name_or_path": base.address, "revision": base.revision}
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def write_tokenizer(run: SavedRun, folder: Path) -> None:
    """Write the tokenizer, which by itself cuts texts where the run did."""
    tokenizer = run.tokenizer()
    tokenizer.model_max_length = run.encoder().max_length
    tokenizer.save_pretrained(folder)


def put_units_into(model: nn.Module, mean: float, scale: float) -> None:
    """Fold `target = mean + scale * output` into the layer that gives the output."""
    import torch
    from torch import nn

    inside = f"{getattr(model, 'base_model_prefix', '')}."
    last = [
        module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and module.out_features == 1
        and not name.startswith(inside)
        and not is_first_copy(name)
    ]
    if len(last) != 1 or last[0].bias is None:
        rule = "The target's mean and scale have no place in this model's head."
        raise FinesweepError(Fault("--to", rule, type(model).__name__, fix="finesweep predict applies them."))
    with torch.no_grad():
        last[0].weight.mul_(scale)
        last[0].bias.mul_(scale).add_(mean)
