"""What a frozen encoder makes of texts: one vector for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset

BATCH = 32


def mean_embeddings(model: Any, rows: Dataset, collator: Callable[[list[dict[str, Any]]], Any]) -> np.ndarray:
    """Return the mean of the last hidden states over the tokens of each row, padding left out.

    Args:
        model: a transformers model; its head takes no part, and dropout is off. It is moved to the
            accelerator, if there is one.
        rows: encoded.
        collator: makes padded batches of them.

    Returns:
        (rows, hidden), 32 bits.
    """
    import numpy as np
    import torch

    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    backbone = model.base_model.eval().to(device)
    found: list[Any] = [None] * len(rows)
    with torch.inference_mode():
        for numbers in _by_length(rows):
            batch = collator([rows[i] for i in numbers]).to(device)
            del batch["labels"]
            states = backbone(**batch)[0]
            kept = batch["attention_mask"][..., None].to(states.dtype)
            for i, vector in zip(numbers, ((states * kept).sum(1) / kept.sum(1)).float().cpu(), strict=True):
                found[i] = vector.numpy()
    return np.stack(found)


def _by_length(rows: Dataset) -> Iterator[list[int]]:
    """Return the numbers of the rows of each batch, like lengths together: little is padded."""
    lengths = [len(row) for row in rows["input_ids"][:]]
    order = sorted(range(len(rows)), key=lengths.__getitem__)
    for start in range(0, len(order), BATCH):
        yield order[start : start + BATCH]
