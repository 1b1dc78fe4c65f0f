"""A run's weights for others: merged into one model, or the adapter with the name of what it stands on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep.data.labels import REGRESSION
from finesweep.errors import Fault, FinesweepError
from finesweep.paths import PACKAGE_SCHEME, input_path

if TYPE_CHECKING:
    from torch import nn

    from finesweep.saved import SavedRun

# peft's own, an empty form.
LEFT_OUT = ("README.md",)


def plain_model(run: SavedRun) -> Any:
    """Return a run's model as others load it: without peft where it can be, a number in the target's units.

    Raises:
        FinesweepError: a head that the units can't be put into.
    """
    model: Any = run.plain_model()
    if run.schema.problem_type == REGRESSION:
        _put_units_into(model, run.schema.mean, run.schema.scale)
    settings: dict[str, Any] = {"max_length": run.encoder().max_length}
    if run.thresholds:
        settings["thresholds"] = list(run.thresholds)
    model.config.finesweep = settings
    return model


def write_merged(run: SavedRun, folder: Path) -> None:
    """Write a model that `AutoModelFor....from_pretrained` loads.

    Raises:
        FinesweepError: the method's weights can't become a part of the model's.
    """
    if run.is_adapter and not run.merges:
        kind = run.setting("peft._target_", "").rpartition(".")[2].removesuffix("Config")
        rule = "Its method can't be merged: what it adds is no weight of the model."
        raise FinesweepError(Fault("--to", rule, kind, valid=("adapter", "onnx")))
    plain_model(run).save_pretrained(folder)


def write_adapter(run: SavedRun, folder: Path) -> None:
    """Write the adapter, with the name of the model it was trained on instead of a path on this machine.

    Raises:
        FinesweepError: the run has no adapter.
    """
    if not run.is_adapter:
        rule = "This run trained the model itself; there is no adapter."
        raise FinesweepError(Fault("--to", rule, "adapter", valid=("merged", "onnx")))
    shutil.copytree(run.folder.adapter, folder, ignore=lambda *_: LEFT_OUT, dirs_exist_ok=True)
    file = folder / "adapter_config.json"
    config = json.loads(file.read_text()) | {"base_model_name_or_path": base_of(run)}
    config["revision"] = run.setting("model.revision")
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def write_tokenizer(run: SavedRun, folder: Path) -> None:
    """Write the tokenizer, which by itself cuts texts where the run did."""
    tokenizer = run.tokenizer()
    tokenizer.model_max_length = run.encoder().max_length
    tokenizer.save_pretrained(folder)


def base_of(run: SavedRun) -> str:
    """Return what a run's model was loaded from: a hub name, or a folder of this machine."""
    name = str(run.setting("model.name"))
    return str(input_path(name)) if name.startswith(PACKAGE_SCHEME) else name


def _put_units_into(model: nn.Module, mean: float, scale: float) -> None:
    """Fold `target = mean + scale * output` into the layer that gives the output."""
    import torch
    from torch import nn

    inside = f"{getattr(model, 'base_model_prefix', '')}."
    last = [
        module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module.out_features == 1 and not name.startswith(inside)
    ]
    if len(last) != 1 or last[0].bias is None:
        rule = "The target's mean and scale have no place in this model's head."
        raise FinesweepError(Fault("--to", rule, type(model).__name__, fix="finesweep predict applies them."))
    with torch.no_grad():
        last[0].weight.mul_(scale)
        last[0].bias.mul_(scale).add_(mean)
