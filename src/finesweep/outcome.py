"""What a finished run leaves, and what it says on the screen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep import console
from finesweep.rundir import RunFolder, relative_to_here

if TYPE_CHECKING:
    import numpy as np

    from finesweep.adapters import Adapted
    from finesweep.data import TextData


def write_predictions(path: Path, data: TextData, split: str, logits: np.ndarray, labels: np.ndarray) -> None:
    """Write one split's predictions as parquet: id, label, predicted label, every probability.

    Args:
        path: the file.
        data: supplies row ids and label names.
        split: which split the logits belong to.
        logits: (rows, labels).
        labels: (rows,), label ids.
    """
    import pyarrow as pa
    from pyarrow import parquet
    from scipy.special import softmax

    names = data.schema.names
    probabilities = softmax(logits, axis=-1)
    columns: dict[str, Any] = {
        "id": data.splits[split]["id"][:],
        "label": [names[i] for i in labels],
        "predicted": [names[i] for i in logits.argmax(axis=-1)],
    }
    columns |= {f"p/{name}": probabilities[:, i] for i, name in enumerate(names)}
    parquet.write_table(pa.table(columns), path)


def show_outcome(folder: RunFolder, name: str, state: str, result: dict[str, Any], adapted: Adapted) -> None:
    """Print the last panel of a run: its numbers, its folder, and what one may want next.

    Args:
        folder: the run folder.
        name: the run's name.
        state: `complete` or `pruned`.
        result: the content of result.json.
        adapted: what was trained.
    """
    path = relative_to_here(folder.path)
    objective = result["objective"]
    reached = f"{objective['metric']} {objective['value']:.4f}"
    rows = {"validation": f"{reached} at step {objective['step']} of {result['steps']}"}
    tested = {
        key.removeprefix("test/"): value
        for key, value in result["metrics"].items()
        if key.startswith("test/")
    }
    if tested:
        rows["test"] = ", ".join(f"{key} {value:.4f}" for key, value in tested.items() if "/" not in key)
    rows["trained"] = describe_size(adapted)
    rows["time"] = f"{sum(result['timings'].values()):.0f} s"
    rows["folder"] = str(path)
    commands = {
        "repeat it": f"finesweep reproduce {path}",
        "vary it": f"python train.py --config-path {path} --config-name config seed=1",
        "search": "python train.py -m",
    }
    console.show_summary(f"{name}: {state}", rows, commands)


def describe_size(adapted: Adapted) -> str:
    """Return "333,701 of 23,048,842 parameters (1.45%)"."""
    share = adapted.trainable / adapted.total
    return f"{adapted.trainable:,} of {adapted.total:,} parameters ({share:.2%})"
