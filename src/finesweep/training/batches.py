"""Which rows make up each training batch: the same for every trainer and every number of processes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from finesweep.data.labels import IGNORED
from finesweep.errors import ConfigError, Fault
from finesweep.models.transformers_insides import grouped_by_length

if TYPE_CHECKING:
    from datasets import Dataset as Rows

Strategy = Literal["random", "group_by_length", "sequential"]

# Stands for a row that counts for nothing, where a global batch has fewer rows than there are processes.
BLANK = -1


class TrainBatches(Sampler[list[int]]):
    """Row numbers of the batches of one epoch, for one of several processes.

    The order of an epoch depends on the seed and the epoch's number alone. Each stretch of
    `batch_size * world` rows is dealt out like cards: together, the processes see what one would.

    Args:
        lengths: tokens in each row.
        batch_size: rows in a batch of one process.
        seed: of the order.
        strategy: `random`; `group_by_length`, which pads less; `sequential`.
        drop_last: leave out an epoch's last rows when they don't fill a batch.
        rank: this process.
        world: number of processes.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        *,
        seed: int,
        strategy: Strategy = "random",
        drop_last: bool = False,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.lengths, self.seed, self.strategy = lengths, seed, strategy
        self.size, self.rank, self.world = batch_size * world, rank, world
        self.drop_last = drop_last
        self.epoch = 0
        self.skipped = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration goes through."""
        self.epoch = epoch

    def skip(self, batches: int) -> None:
        """Leave out the first batches of the next iteration."""
        self.skipped = batches

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return len(self.lengths) // self.size if self.drop_last else -(-len(self.lengths) // self.size)

    def __iter__(self) -> Iterator[list[int]]:
        """Go through an epoch's batches."""
        order = self._order()
        first, self.skipped = self.skipped, 0
        for number in range(first, len(self)):
            together = order[number * self.size : (number + 1) * self.size]
            yield together[self.rank :: self.world] or [BLANK]

    def _order(self) -> list[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        if self.strategy == "group_by_length":
            return grouped_by_length(self.lengths, self.size, generator)
        if self.strategy == "sequential":
            return list(range(len(self.lengths)))
        return torch.randperm(len(self.lengths), generator=generator).tolist()


class TrainLoader(DataLoader):
    """A DataLoader over TrainBatches."""

    batch_sampler: TrainBatches

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration goes through."""
        self.batch_sampler.set_epoch(epoch)


def train_loader(rows: Rows, collator: Any, args: Any, *, rank: int, world: int) -> TrainLoader:
    """Return the loader of the training batches.

    Args:
        rows: columns `input_ids`, ..., `labels`.
        collator: rows to a padded batch.
        args: TrainingArguments.
        rank: this process.
        world: number of processes.

    Raises:
        ConfigError: there is no batch.
    """
    batches = TrainBatches(
        lengths_of(rows),
        args.per_device_train_batch_size,
        seed=args.data_seed,
        strategy=args.train_sampling_strategy,
        drop_last=args.dataloader_drop_last,
        rank=rank,
        world=world,
    )
    if not len(batches):
        rule = f"It leaves out all {len(rows)} rows: they don't fill one batch of {batches.size}."
        raise ConfigError(Fault("trainer.dataloader_drop_last", rule, True, fix="Take smaller batches."))
    return TrainLoader(_WithBlank(rows), batch_sampler=batches, collate_fn=collator, **loader_options(args))


def evaluation_loader(rows: Rows, batches: list[list[int]], collator: Any, args: Any) -> DataLoader:
    """Return a loader of the given batches of row numbers."""
    return DataLoader(rows, batch_sampler=batches, collate_fn=collator, **loader_options(args))  # type: ignore[arg-type]


def loader_options(args: Any) -> dict[str, Any]:
    """Return what TrainingArguments say of data loaders, with a generator that leaves torch's own alone."""
    return {
        "num_workers": args.dataloader_num_workers,
        "pin_memory": args.dataloader_pin_memory,
        "persistent_workers": args.dataloader_persistent_workers,
        "prefetch_factor": args.dataloader_prefetch_factor,
        "generator": torch.Generator().manual_seed(args.data_seed),
    }


def batches_by_length(rows: Rows, batch_size: int) -> list[list[int]]:
    """Cut rows into batches of like length, the longest first, so that little is padded."""
    lengths = lengths_of(rows)
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def digest_of(rows: Rows) -> str:
    """Return a digest of some rows, labels included."""
    import pyarrow as pa

    table: Any = rows.with_format("arrow")[:]
    with pa.BufferOutputStream() as stream:
        with pa.ipc.new_stream(stream, table.schema) as writer:
            writer.write_table(table.combine_chunks())
        return hashlib.blake2b(stream.getvalue()).hexdigest()


def lengths_of(rows: Rows) -> list[int]:
    """Return the number of tokens in each row."""
    from pyarrow.compute import list_value_length  # type: ignore[attr-defined]

    column = rows.select_columns("input_ids").with_format("arrow")[:]["input_ids"]
    return list_value_length(column).to_pylist()


class _WithBlank(Dataset[Any]):
    """Rows, and the blank one: the first row with labels that no loss counts."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitems__(self, numbers: list[int]) -> list[dict[str, Any]]:
        if numbers != [BLANK]:
            return self._rows.__getitems__(numbers)
        first = self._rows[0]
        labels = first["labels"]
        return [{**first, "labels": [IGNORED] * len(labels) if isinstance(labels, list) else IGNORED}]
