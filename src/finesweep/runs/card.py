"""The README.md of a run's adapter: what it is, in place of the form that peft leaves to be filled in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

CARD = "README.md"
MOST_LABELS = 20


def write_card(
    folder: Path,
    *,
    name: str,
    base: str,
    is_adapter: bool,
    labels: Sequence[str],
    metrics: Mapping[str, float],
) -> None:
    """Write it into the folder of the weights.

    Args:
        folder: of the adapter, or the whole model.
        name: the run's.
        base: what the model was loaded from.
        is_adapter: whether the weights are those of an adapter alone.
        labels: their names; of a regression its target.
        metrics: final metrics by name; those of single labels are left out.
    """
    front = {"library_name": "peft" if is_adapter else "transformers", "tags": ["finesweep"]}
    front |= {"base_model": base} if is_adapter else {}
    more = f", and {len(labels) - MOST_LABELS} more" if len(labels) > MOST_LABELS else ""
    shown = [(key, value) for key, value in metrics.items() if key.count("/") == 1]
    lines = [
        f"# {name}",
        "",
        f"{'An adapter' if is_adapter else 'A model'} that finesweep trained on `{base}`.",
        "",
        f"Labels: {', '.join(f'`{label}`' for label in labels[:MOST_LABELS])}{more}",
        "",
        "| metric | value |",
        "|---|---|",
        *(f"| {key} | {'undefined' if math.isnan(value) else f'{value:.4f}'} |" for key, value in shown),
        "",
        "Config, data and versions stand in the run's folder, one level up. From there:",
        "`finesweep predict RUN new.csv`, `finesweep evaluate RUN`, and `finesweep export RUN OUT`,",
        "which writes a card with all of it for sharing.",
        "",
    ]
    text = f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n\n" + "\n".join(lines)
    (folder / CARD).write_text(text, encoding="utf-8")
