"""The processes of one run, as `accelerate launch` starts them: which one this is, and what they agree on."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def rank() -> int:
    """Return this process's number among those of the run, from 0."""
    return int(os.environ.get("RANK", 0)) if world_size() > 1 else 0


def world_size() -> int:
    """Return how many processes share the run."""
    return int(os.environ.get("WORLD_SIZE", 1))


def is_main() -> bool:
    """Say whether this process writes, logs and decides; the others only compute."""
    return rank() == 0


def connect() -> None:
    """Join the other processes; alone, do nothing."""
    if world_size() > 1:
        from accelerate import PartialState

        PartialState()


@contextmanager
def main_first() -> Iterator[None]:
    """Let the main process go through the block before the others."""
    if not is_main():
        barrier()
    yield
    if is_main():
        barrier()


def broadcast(value: Any) -> Any:
    """Return the main process's value, in every process."""
    if world_size() == 1:
        return value
    import torch.distributed as dist

    box = [value]
    dist.broadcast_object_list(box, src=0, group=_control_group())
    return box[0]


def gather(value: Any) -> list[Any]:
    """Return every process's value, in the order of their ranks."""
    if world_size() == 1:
        return [value]
    import torch.distributed as dist

    values = [None] * world_size()
    dist.all_gather_object(values, value, group=_control_group())
    return values


def highest(number: int) -> int:
    """Return the highest of the processes' numbers; on a GPU it waits for nothing."""
    if world_size() == 1:
        return number
    import torch
    import torch.distributed as dist

    box = torch.tensor(number)
    dist.all_reduce(box, dist.ReduceOp.MAX, group=_control_group())
    return int(box)


def barrier() -> None:
    """Wait until every process is here."""
    gather(None)


@functools.cache
def _control_group() -> Any:
    """Return a group that talks over the CPU, whatever the tensors are on."""
    import torch.distributed as dist

    connect()
    return dist.new_group(backend="gloo")
