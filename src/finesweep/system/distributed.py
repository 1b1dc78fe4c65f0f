"""The processes of one run, as `accelerate launch` starts them: which one this is, and what they agree on."""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from finesweep.system.accelerate_insides import processes_asked_for
from finesweep.system.processes import die_with_parent

MPI_VARIABLES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
SPEAKING_S = 20.0  # in which the main process gets as far as another one did


def rank() -> int:
    """Return this process's number among those of the run, from 0."""
    return int(os.environ.get("RANK", 0)) if world_size() > 1 else 0


def world_size() -> int:
    """Return how many processes share the run."""
    return int(os.environ.get("WORLD_SIZE", 1))


def is_main() -> bool:
    """Say whether this process writes, logs and decides; the others only compute."""
    return rank() == 0


def start_missing() -> None:
    """Become all the processes that `accelerate launch --cpu --num_processes N` was asked for.

    On a CPU and without mpirun, accelerate (1.15) starts one process whatever N is. This one then replaces
    itself by torch's launcher, which accelerate uses for GPUs.
    """
    is_alone = "RANK" not in os.environ and not any(name in os.environ for name in MPI_VARIABLES)
    if is_alone and os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("true", "1"):
        count = _asked_for()
        if count > 1:
            die_with_parent()  # accelerate passes no signals on
            launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}"]
            words = [word for word in sys.orig_argv[1:] if word != "-u"]
            program = ["--module", *words[1:]] if words[0] == "-m" else words
            os.execv(sys.executable, [sys.executable, *launcher, *program])


def _asked_for() -> int:
    """Return the number of processes on the command line, or in the config file, of our parent."""
    import psutil

    words = psutil.Process(os.getppid()).cmdline()
    return processes_asked_for(words[words.index("launch") + 1 :]) if "launch" in words else 1


def let_main_speak() -> None:
    """Leave a mistake that all processes make to the main one; return where it seems to be this one's alone.

    When the main process has said it and ends, the launcher ends the others. If another ended first, the main
    one would be ended, maybe before it has said a word.
    """
    if not is_main():
        time.sleep(SPEAKING_S)


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


def is_lost_peer(error: BaseException) -> bool:
    """Say whether an error means that another process of the run is gone."""
    signs = ("closed by peer", "reset by peer", "Connection refused", "recvBytes", "remote process exited")
    return world_size() > 1 and isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


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
