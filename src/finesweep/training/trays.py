"""A micro-batch of each trial of a pack, laid side by side where a recorded step finds them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from finesweep.data.labels import IGNORED
from finesweep.training.feeds import Padding
from finesweep.training.steps import Batch


class Tray:
    """Columns of shape (slots, rows, ...), on a GPU under addresses that stay the same.

    Args:
        padding: fills batches up.
        like: a batch, which says what columns there are.
        slots: batches at a time.
        rows: of each.
        length: tokens of each row.
        device: where they are needed.
    """

    def __init__(
        self, padding: Padding, like: Batch, slots: int, rows: int, length: int, device: torch.device
    ) -> None:
        self._padding, self._slots, self._device = padding, slots, device
        sizes = padding.sizes(like, rows, length)
        self._sizes = {name: ((slots, *sizes[name]), values.dtype) for name, values in like.items()}
        self.columns: dict[str, Tensor] = {}
        self.is_given = [False] * slots  # which of them have a batch
        if device.type == "cuda":
            self.columns = {
                name: torch.zeros(size, dtype=dtype, device=device)
                for name, (size, dtype) in self._sizes.items()
            }

    def load(self, batches: Sequence[Batch | None]) -> None:
        """Lay each slot's micro-batch out; where one has none, rows whose labels count for nothing."""
        is_far = self._device.type == "cuda"
        columns = {
            name: torch.empty(size, dtype=dtype, pin_memory=is_far)
            for name, (size, dtype) in self._sizes.items()
        }
        self.is_given = [batch is not None for batch in batches]
        some = next(batch for batch in batches if batch is not None)
        parts = zip(*(values.unbind() for values in columns.values()), strict=True)
        for batch, part in zip(batches, parts, strict=True):
            own = dict(zip(columns, part, strict=True))
            self._padding.write(some if batch is None else batch, own)
            if batch is None:
                own["labels"].fill_(IGNORED)
        if not is_far:
            self.columns = columns
            return
        for (
            name,
            values,
        ) in columns.items():  # pinned: the copies wait for nothing, nor does who asks for them
            self.columns[name].copy_(values, non_blocking=True)
