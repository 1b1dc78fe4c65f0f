"""What a finished run leaves, and what it says on the screen."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep.data.labels import MULTI, SINGLE
from finesweep.runs.difference import half_width
from finesweep.runs.layout import RunFolder
from finesweep.runs.yardsticks import LINEAR, no_better
from finesweep.system import console
from finesweep.system.paths import relative_to_here

METRICS, HALF_WIDTHS = "metrics", "half_widths"  # in result.json
SPLITS = ("validation", "test")

if TYPE_CHECKING:
    from finesweep.data import LabelSchema, TextData
    from finesweep.metrics.scores import Scored
    from finesweep.models.adapters import Adapted


def write_predictions(path: Path, data: TextData, split: str, scored: Scored) -> None:
    """Write one split's predictions as parquet: id, label, predicted label, every probability.

    Args:
        path: the file.
        data: supplies row ids and label names.
        split: which split it is.
        scored: its predictions. Labels are written by name, a regression's in the target's own units.
    """
    import pyarrow as pa
    from pyarrow import parquet

    columns: dict[str, Any] = {
        "id": data.splits[split]["id"][:],
        "label": _shown(scored.truth, data.schema),
        "predicted": _shown(scored.predicted, data.schema),
    }
    if scored.probabilities is not None:
        probabilities = scored.probabilities.astype("float32")
        columns |= {f"p/{name}": probabilities[:, i] for i, name in enumerate(data.schema.names)}
    parquet.write_table(pa.table(columns), path)


def write_splits(path: Path, data: TextData) -> None:
    """Write which row was in which split: its number in the source, and a hash of its text."""
    import pyarrow as pa
    from pyarrow import parquet

    hashes = data.row_hashes()
    columns = {
        "split": [name for name, rows in hashes.items() for _ in rows],
        "id": [number for name in hashes for number in data.splits[name]["id"][:]],
        "hash": [value for rows in hashes.values() for value in rows],
    }
    parquet.write_table(pa.table(columns), path)


def half_widths(folder: RunFolder, metric: str, metrics: Collection[str]) -> dict[str, Any]:
    """Return, for result.json, half of the 95% interval of the metric that counts, by split and name."""
    names = {split: f"{split}/{metric}" for split in SPLITS if f"{split}/{metric}" in metrics}
    found = {name: half_width(metric, folder, split) for split, name in names.items()}
    return {HALF_WIDTHS: {name: round(width, 4) for name, width in found.items() if width is not None}}


def with_half_width(text: str, result: Mapping[str, Any], metric: str, split: str = "validation") -> str:
    """Return "0.9577 ± 0.027" of "0.9577", where a result has the half-width."""
    width = result.get(HALF_WIDTHS, {}).get(f"{split}/{metric}")
    return f"{text} ± {width:.2g}" if isinstance(width, int | float) else text


def _shown(values: Any, schema: LabelSchema) -> list[Any]:
    if schema.problem_type == SINGLE:
        return [schema.names[i] for i in values]
    if schema.problem_type == MULTI:
        return [[name for name, on in zip(schema.names, row, strict=True) if on] for row in values]
    return list(values)


def show_outcome(
    folder: RunFolder,
    title: str,
    result: dict[str, Any],
    adapted: Adapted,
    steps: Mapping[str, str],
    readers: int = 0,
) -> None:
    """Print the last panel of a run: its numbers, its folder, and what one may want next.

    Args:
        folder: the run folder.
        title: the run's name and its state.
        result: the content of result.json.
        adapted: what was trained.
        steps: see next_steps.
        readers: runs that have read the test split so far, this one included.
    """
    objective = result["objective"]
    metric = objective["metric"]
    reached = with_half_width(f"{metric} {objective['value']:.4f}", result, metric)
    rows = {"validation": f"{reached} at step {objective['step']} of {result['steps']}"}
    for row, values, split in (("test", METRICS, "test"), ("baseline", "baseline", "test")):
        if shown := _single_values(result, values, split):
            rows[row] = shown + " (without reading the text)" * (row == "baseline")
    rows |= _probe_row(result)
    rows["trained"] = describe_size(adapted)
    if readers:
        rows["test split"] = f"read by {readers} run{'s' * (readers > 1)} so far"
    rows["time"] = f"{sum(result['timings'].values()):.0f} s"
    rows["folder"] = str(relative_to_here(folder.path))
    console.show_summary(title, rows, steps)


def _probe_row(result: dict[str, Any]) -> dict[str, str]:
    """Return what a linear model on the frozen encoder scores, and whether training was better than that."""
    probe, metrics, objective = result.get("probe", {}), result["metrics"], result["objective"]
    split = "test" if any(name.startswith("test/") for name in probe) else "validation"
    if not probe:
        return {}
    name = f"{split}/{objective['metric']}"
    own, its = metrics.get(name, math.nan), probe.get(name, math.nan)
    maximizes = objective["direction"] == "maximize"
    verdict = "; this run is no better than it" * no_better(own, its, maximizes=maximizes)
    where = "" if split == "test" else f"{split}; "
    shown = _single_values(result, "probe", split)
    return {"probe": f"{shown} ({where}{LINEAR}{verdict})"}


def _single_values(result: Mapping[str, Any], key: str, split: str) -> str:
    """Return "accuracy 0.9764 ± 0.02, loss 0.1049": a split's metrics, those of single labels left out."""
    start = f"{split}/"
    found = {name.removeprefix(start): v for name, v in result[key].items() if name.startswith(start)}
    shown = {name: "undefined" if math.isnan(value) else f"{value:.4f}" for name, value in found.items()}
    if key == METRICS:
        shown = {name: with_half_width(text, result, name, split) for name, text in shown.items()}
    return ", ".join(f"{name} {value}" for name, value in shown.items() if "/" not in name)


def describe_size(adapted: Adapted) -> str:
    """Return "333,701 of 23,048,842 parameters (1.45%)"."""
    share = adapted.trainable / adapted.total
    return f"{adapted.trainable:,} of {adapted.total:,} parameters ({share:.2%})"
