"""A run's model as ONNX, and the proof that it answers the same."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep.commands.export.weights import plain_model
from finesweep.errors import Fault, FinesweepError
from finesweep.models.classifier import inner_model

if TYPE_CHECKING:
    from finesweep.runs.saved import SavedRun

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-4
FILE = "model.onnx"
# Of many lengths, alone and together: what a graph that has fixed an axis would fail on.
TEXTS = (
    ("Yes.",),
    ("The vote is on Tuesday.", "Is it?"),
    ("The central bank left its rate unchanged, as most had expected, and said little of next year. " * 12,),
    ("She won the final in three sets.", "A film about the sea", "The new phone folds. " * 30, "¿Qué?"),
)


def check_packages() -> None:
    """Make sure that what exports and what verifies is installed.

    Raises:
        FinesweepError: with the command that installs it.
    """
    from importlib.util import find_spec

    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        fix = "Install finesweep with its onnx extra: pip install 'finesweep[onnx]'"
        raise FinesweepError(Fault("--to onnx", f"It needs {', '.join(missing)}.", fix=fix))


def write_onnx(run: SavedRun, folder: Path) -> float:
    """Write model.onnx beside its config, and return how far its logits are from the model's own at most.

    Batch and sequence are dynamic axes. The weights are float32: onnxruntime has no bfloat16 on CPUs.

    Raises:
        FinesweepError: torch can't export the model, or the two differ by more than TOLERANCE.
    """
    model = plain_model(run).float()
    batches = [_encoded(run, texts) for texts in TEXTS]
    _export(model, batches[-1], folder / FILE)
    base = inner_model(model)
    base.config.architectures = [type(base).__name__]
    base.config.save_pretrained(folder)
    gap = _gap(model, batches, folder / FILE) / run.schema.scale
    if not gap <= TOLERANCE:
        rule = f"The exported model's logits differ by {gap:.2g}; at most {TOLERANCE:g} is rounding."
        raise FinesweepError(Fault("--to onnx", rule, fix="--to merged keeps the model as it is."))
    return gap


def _encoded(run: SavedRun, texts: Sequence[str]) -> dict[str, Any]:
    """Return texts, or pairs of them, as tensors (texts, sequence)."""
    tokenizer: Any = run.tokenizer()
    columns = [list(texts), list(reversed(texts))][: len(run.text_columns)]
    length = run.encoder().max_length
    return dict(tokenizer(*columns, padding=True, truncation=True, max_length=length, return_tensors="pt"))


def _export(model: Any, example: dict[str, Any], file: Path) -> None:
    import torch

    names = list(example)

    class Logits(torch.nn.Module):
        """The model, from tensors in order to logits."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: Any) -> Any:
            return self.model(**dict(zip(names, inputs, strict=True))).logits

    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
    try:
        with _quietly():
            program = torch.onnx.export(
                Logits().eval(),
                tuple(example.values()),
                input_names=names,
                output_names=["logits"],
                dynamic_shapes=(tuple(axes for _ in names),),
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # torch's exporter has many ways to give up, and no common class for them
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        rule = f"torch can't export this model: {reason}"
        raise FinesweepError(Fault("--to onnx", rule, fix="Try --to merged.")) from error
    assert program
    program.save(file, external_data=False)


def _gap(model: Any, batches: Sequence[dict[str, Any]], file: Path) -> float:
    """Return how far the file's logits are from the model's own at most; NaN where one of them is."""
    import numpy as np
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    gaps = []
    for batch in batches:
        with torch.inference_mode():
            own = model(**batch).logits.numpy()
        (exported,) = session.run(None, {name: values.numpy() for name, values in batch.items()})
        gaps.append(np.abs(exported - own).max())
    return float(np.max(gaps))


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep the exporter's advice to those who write exporters off the screen."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
