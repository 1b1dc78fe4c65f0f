"""How batches come into the buffers that a recorded step reads: copied there, or gathered on the device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from finesweep.data.labels import IGNORED, TOKENS
from finesweep.models.memory import free_bytes
from finesweep.training.base import TrainingTask
from finesweep.training.batches import TrainBatches, TrainLoader
from finesweep.training.buckets import bucket_of, choose_lengths, rounded
from finesweep.training.losses import count_labels

if TYPE_CHECKING:
    from datasets import Dataset

# The share of the device's free memory that the training split may take.
RESIDENT_SHARE = 0.1
CHUNK = 256  # rows that are padded at a time


class Feed(Protocol):
    """Takes batches, and offers each under an address that stays the same for a length.

    `note` says in words where the batches come from.
    """

    note: str

    def batches(self, loader: TrainLoader) -> Iterable[Any]:
        """Return an epoch's micro-batches, in the form that `load` takes."""
        ...

    def count(self, batch: Any) -> int:
        """Return how many labels of a micro-batch count."""
        ...

    def load(self, batch: Any) -> int:
        """Bring a micro-batch into the buffers, and return the length it is padded to."""
        ...

    def inputs(self, length: int) -> dict[str, Tensor]:
        """Return the micro-batch that was loaded last, of shape (batch, length); this is recorded."""
        ...


class Padding:
    """What batches are filled up with: lengths up to a bucket's, rows that count for nothing.

    Args:
        task: says what is padded.
        pad_token: the token id.
    """

    def __init__(self, task: TrainingTask, pad_token: int) -> None:
        self._fills = {"input_ids": pad_token, "labels": IGNORED}
        self._has_long_labels = task.loss.problem_type == TOKENS

    def is_long(self, name: str, values: Tensor) -> bool:
        """Say whether a column has a value for each token, not for each row."""
        return self._has_long_labels if name == "labels" else values.dim() > 1

    def padded(self, batch: Mapping[str, Tensor], rows: int, length: int) -> dict[str, Tensor]:
        """Return a batch of shape (rows, length); rows that it lacks are its first one, unlabelled."""
        sizes = self.sizes(batch, rows, length)
        found = {name: torch.empty(sizes[name], dtype=values.dtype) for name, values in batch.items()}
        self.write(batch, found)
        return found

    def sizes(self, batch: Mapping[str, Tensor], rows: int, length: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes that a batch's columns have once it is padded."""
        return {
            name: (rows, length, *values.shape[2:])
            if self.is_long(name, values)
            else (rows, *values.shape[1:])
            for name, values in batch.items()
        }

    def write(self, batch: Mapping[str, Tensor], into: Mapping[str, Tensor]) -> None:
        """Write a batch into columns of a padded one's shapes."""
        for name, whole in into.items():
            values = batch[name]
            if values.shape == whole.shape:
                whole.copy_(values)
                continue
            whole.fill_(self._fills.get(name, 0))
            place = tuple(slice(0, size) for size in values.shape[1:])
            whole[(slice(0, len(values)), *place)] = values
            if len(values) < len(whole) and name != "labels":
                whole[(slice(len(values), None), *place)] = values[:1]


class CopyFeed:
    """Padded batches of a loader, copied to the device one by one.

    Args:
        padding: fills them up.
        rows: in a batch.
        lengths: that batches are padded to.
        device: where they go.
    """

    note = "each is copied to the device"

    def __init__(self, padding: Padding, rows: int, lengths: Sequence[int], device: torch.device) -> None:
        self._padding, self._rows, self._lengths, self._device = padding, rows, lengths, device
        self._buffers: dict[int, dict[str, Tensor]] = {}

    def batches(self, loader: TrainLoader) -> Iterable[dict[str, Tensor]]:
        """Return an epoch's padded micro-batches."""
        return loader

    def count(self, batch: dict[str, Tensor]) -> int:
        """Return how many labels of a micro-batch count."""
        return count_labels(batch["labels"])

    def load(self, batch: dict[str, Tensor]) -> int:
        """Copy a micro-batch to the device."""
        length = bucket_of(batch["input_ids"].shape[1], self._lengths)
        padded = self._padding.padded(batch, self._rows, length)
        if self._device.type == "cuda":  # else a copy would wait for the device
            padded = {name: values.pin_memory() for name, values in padded.items()}
        if length not in self._buffers:
            self._buffers[length] = {name: values.to(self._device) for name, values in padded.items()}
        for name, values in padded.items():
            self._buffers[length][name].copy_(values, non_blocking=True)
        return length

    def inputs(self, length: int) -> dict[str, Tensor]:
        """Return the micro-batch that was loaded last."""
        return self._buffers[length]


class ResidentFeed:
    """The training split on the device, where a batch is gathered by its rows' numbers.

    Args:
        columns: of shape (rows + 1, longest) or (rows + 1, ...); the last row counts for nothing.
        padding: knows which is which.
        rows: in a batch.
        row_lengths: tokens of each row, at least those that every batch has.
        counts: labels that count, of each row.
        lengths: that batches are padded to.
        device: where the columns go.
    """

    note = "the training split lies on the device"

    def __init__(
        self,
        columns: dict[str, Tensor],
        padding: Padding,
        rows: int,
        row_lengths: Sequence[int],
        counts: Sequence[int],
        lengths: Sequence[int],
        device: torch.device,
    ) -> None:
        self._padding, self._rows, self._row_lengths = padding, rows, row_lengths
        self._counts, self._lengths = counts, lengths
        self._columns = {name: values.to(device) for name, values in columns.items()}
        self._numbers = torch.zeros(rows, dtype=torch.long, device=device)

    def batches(self, loader: TrainLoader) -> Iterable[list[int]]:
        """Return the row numbers of an epoch's micro-batches."""
        return loader.batch_sampler

    def count(self, batch: list[int]) -> int:
        """Return how many labels of a micro-batch count."""
        return sum(self._counts[row] for row in batch)

    def load(self, batch: list[int]) -> int:
        """Tell the device which rows make up the micro-batch."""
        blank = len(self._counts)
        numbers = torch.tensor([*batch, *[blank] * (self._rows - len(batch))])
        if self._numbers.is_cuda:
            numbers = numbers.pin_memory()
        self._numbers.copy_(numbers, non_blocking=True)
        return bucket_of(max(self._row_lengths[row] for row in batch), self._lengths)

    def inputs(self, length: int) -> dict[str, Tensor]:
        """Gather the micro-batch that was loaded last."""
        return {
            name: (values[:, :length] if self._padding.is_long(name, values) else values).index_select(
                0, self._numbers
            )
            for name, values in self._columns.items()
        }


class Gathered:
    """A split that was padded once: a batch is gathered from it, equal to the collator's and made in no time.

    Args:
        columns: of shape (rows, longest) or (rows, ...).
        lengths: tokens of each row.
        padding: knows which is which.
    """

    def __init__(self, columns: dict[str, Tensor], lengths: Sequence[int], padding: Padding) -> None:
        self._lengths = lengths
        # NumPy picks a few rows out in a third of the time.
        self._columns = {
            name: (values.numpy(), padding.is_long(name, values)) for name, values in columns.items()
        }

    def batches(self, sampler: Iterable[list[int]]) -> Iterator[dict[str, Tensor]]:
        """Yield the batches of row numbers, each as long as its longest text."""
        for numbers in sampler:
            rows, length = np.array(numbers), max(self._lengths[number] for number in numbers)
            yield {
                name: torch.from_numpy(values[rows, :length] if is_long else values[rows])
                for name, (values, is_long) in self._columns.items()
            }


def gathered(task: TrainingTask, sampler: TrainBatches) -> Gathered | None:
    """Return a task's training split padded; None where its batches are better made one by one.

    That is where the collator is the user's own or pads on the left, or the split takes more than a tenth of
    the free memory.
    """
    if not is_plain(task.collator):
        return None
    padding, lengths = Padding(task, task.model.config.pad_token_id or 0), sampler.lengths
    row = task.collator([task.train[lengths.index(max(lengths))]])
    row_bytes, longest = sum(values.nbytes for values in row.values()), row["input_ids"].shape[1]
    if row_bytes * len(lengths) > RESIDENT_SHARE * (free_bytes(torch.device("cpu")) or 0):
        return None
    columns = _columns(task.train, task.collator, padding, longest)
    return Gathered(columns, lengths, padding) if columns["attention_mask"][:, 0].all() else None


def make_feed(
    task: TrainingTask, loader: TrainLoader, num_batches: int, device: torch.device
) -> tuple[Feed, tuple[int, ...]]:
    """Return a feed for a training split, and the lengths that its batches are padded to.

    The split lies on the device when it takes at most a tenth of the memory that is free there, its texts
    are padded on the right, and no more of them lie there than training reads.

    Args:
        task: the split and its collator.
        loader: of its batches.
        num_batches: that training reads.
        device: where the batches go.
    """
    sampler, padding = loader.batch_sampler, Padding(task, task.model.config.pad_token_id or 0)
    shortest, longest = (
        task.collator([task.train[of(range(len(sampler.lengths)), key=sampler.lengths.__getitem__)]])
        for of in (min, max)
    )
    least, most = shortest["input_ids"].shape[1], longest["input_ids"].shape[1]
    sampler.set_epoch(0)
    widths = [max(least, *(sampler.lengths[row] for row in batch)) for batch in sampler]
    # A batch of another epoch may hold the longest text, and the collator may round up.
    lengths = choose_lengths([*widths, most])
    row_lengths = [max(length, least) for length in sampler.lengths]
    is_read = num_batches * sampler.size >= len(row_lengths)
    row_bytes = sum(values.nbytes for values in longest.values())
    if is_read and row_bytes * (len(row_lengths) + 1) <= RESIDENT_SHARE * (free_bytes(device) or 0):
        columns = _columns(task.train, task.collator, padding, rounded(most))
        if columns["attention_mask"][:, 0].all():  # texts padded on the left would be elsewhere in a batch
            counts = columns["labels"][:-1].ne(IGNORED).view(len(row_lengths), -1).sum(1).tolist()
            return ResidentFeed(columns, padding, sampler.size, row_lengths, counts, lengths, device), lengths
    return CopyFeed(padding, sampler.size, lengths, device), lengths


def is_plain(collator: Any) -> bool:
    """Say whether a collator only pads, and so makes the same of a row each time."""
    from transformers import DataCollatorForTokenClassification, DataCollatorWithPadding

    inner = getattr(collator, "collator", collator)
    return type(inner) in (DataCollatorForTokenClassification, DataCollatorWithPadding)


def _columns(rows: Dataset, collator: Any, padding: Padding, length: int) -> dict[str, Tensor]:
    """Return a split as its collator makes batches of it, and a last row that counts for nothing."""
    chunks = []
    for start in range(0, len(rows), CHUNK):
        numbers = range(start, min(start + CHUNK, len(rows)))
        is_last = numbers.stop == len(rows)
        batch = collator(rows.__getitems__(list(numbers)))
        chunks.append(padding.padded(batch, len(numbers) + is_last, length))
    return {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}
