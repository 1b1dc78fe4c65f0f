"""`cuda-graph`: optimizer steps that are recorded once for each shape, and then launched as one.

A step of a small encoder takes hundreds of kernels, and a GPU is done with each before the next is launched.
A CUDA graph launches all of them at once. What is recorded reads and writes the same addresses at each
replay: batches, learning rates and the loss's scale are brought there before it, and the loss and the
gradient's norm are read after it.

The first steps of each shape are ordinary ones, on the same buffers and with the same bits: libraries may
then allocate what they need, and nothing has to be undone where a step can't be recorded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam, AdamW

from finesweep.models.masked_attention import mask_always
from finesweep.system import distributed
from finesweep.training.batches import TrainLoader
from finesweep.training.feeds import Feed, is_plain, make_feed
from finesweep.training.steps import Work

logger = logging.getLogger(__name__)

# Ordinary steps before a shape is recorded: at first, and of each further shape.
WARM_UPS = 3
FURTHER_WARM_UPS = 1
# Of these the state that a first step makes lies on the device, and none of their arithmetic on the CPU.
OPTIMIZERS = (Adam, AdamW)

Call = Callable[[], None]


class GraphSteps:
    """Steps on buffers that stay where they are, each recorded once for a shape and replayed from then on.

    Args:
        work: what a step does.
        feed: brings batches into the buffers.
        record: makes of a step what does the same step again, from then on.
    """

    def __init__(self, work: Work, feed: Feed, record: Callable[[Call], Call]) -> None:
        self._work, self._feed, self._record = work, feed, record
        self.window = work.window
        device = work.accelerator.device
        self._scale = torch.zeros((), dtype=torch.float64, device=device)
        self._grad_norm = torch.zeros((), device=device)
        self._calls: dict[tuple[int, bool], Call] = {}
        self._rates = [torch.zeros((), device=device) for _ in work.optimizer.param_groups]

    def batches(self, loader: TrainLoader) -> Iterable[Any]:
        """Return an epoch's micro-batches, as the feed takes them."""
        return self._feed.batches(loader)

    def do(self, microbatches: Sequence[Any], number: int) -> Tensor:
        """Do optimizer step `number`, and return the norm that the gradient had."""
        count = max(sum(self._feed.count(batch) for batch in microbatches), 1)
        self._scale.fill_(1 / count)
        for rate, group in zip(self._rates, self._work.optimizer.param_groups, strict=True):
            rate.fill_(group["lr"])
        for batch in microbatches[:-1]:
            self._run(self._feed.load(batch), is_last=False)
        self._run(self._feed.load(microbatches[-1]), is_last=True)
        return self._grad_norm.clone()

    def close(self) -> None:
        """Do nothing: the graphs go with this object."""

    def _run(self, length: int, *, is_last: bool) -> None:
        shape = length, is_last
        if shape not in self._calls:
            self._calls[shape] = self._record(partial(self._work_on, *shape))
        self._calls[shape]()

    def _work_on(self, length: int, is_last: bool) -> None:
        """Do a micro-batch's work, and with a step's last one the update: what is recorded."""
        self._work.accumulate(self._feed.inputs(length), self._scale, None)
        if is_last:
            with self._rates_on_device():
                self._grad_norm.copy_(self._work.update())
            self._work.optimizer.zero_grad(set_to_none=False)

    @contextmanager
    def _rates_on_device(self) -> Iterator[None]:
        """Let the optimizer read its rates from the device, and the schedule go on with numbers."""
        if self._scale.device.type == "cpu":
            yield
            return
        optimizer = self._work.optimizer
        for state in optimizer.state.values():
            state["step"] = state["step"].to(self._scale.device)  # a checkpoint's may be on the CPU
        settings = [(group["lr"], group["capturable"]) for group in optimizer.param_groups]
        try:
            for group, rate in zip(optimizer.param_groups, self._rates, strict=True):
                group["lr"], group["capturable"] = rate, True
            yield
        finally:
            for group, (rate, capturable) in zip(optimizer.param_groups, settings, strict=True):
                group["lr"], group["capturable"] = rate, capturable


class CudaRecorder:
    """Record functions as CUDA graphs that share their memory; if one can't be, all stay as they are.

    Args:
        device: a GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()
        self.is_possible = True
        self.count = 0

    def __call__(self, function: Call) -> Call:
        """Return what does the same as the function, from its second or fourth call on as one launch."""
        return _Recorded(self, function, FURTHER_WARM_UPS if self.count else WARM_UPS)

    def give_up(self, error: Exception) -> None:
        """Say once why steps aren't recorded."""
        self.is_possible = False
        reason = str(error).strip().partition("\n")[0]
        logger.warning("speed-ups  cuda-graph is off, since this step can't be recorded: %s", reason)


class _Recorded:
    """A function that is called as it is at first, and then replayed."""

    def __init__(self, recorder: CudaRecorder, function: Call, warm_ups: int) -> None:
        self._recorder, self._function, self._warm_ups = recorder, function, warm_ups
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        recorder = self._recorder
        if self._graph is None and self._warm_ups == 0 and recorder.is_possible:
            self._capture()
        if self._graph is not None:
            self._graph.replay()
            return
        self._warm_ups = max(self._warm_ups - 1, 0)
        outer = torch.cuda.current_stream(recorder.device)
        recorder.stream.wait_stream(outer)
        with torch.cuda.stream(recorder.stream):
            self._function()
        outer.wait_stream(recorder.stream)

    def _capture(self) -> None:
        """Record the function, which doesn't run it; where that fails, leave all as it was."""
        recorder = self._recorder
        generator = torch.cuda.default_generators[recorder.device.index or 0]
        spare = generator.clone_state()
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads, a tracker's or a loader's, may go on using the device.
            options: Any = {"stream": recorder.stream, "capture_error_mode": "thread_local"}
            with torch.cuda.graph(graph, pool=recorder.pool, **options):
                self._function()
        except RuntimeError as error:
            generator.graphsafe_set_state(spare)  # the other one may think that a capture goes on
            recorder.give_up(error)
            return
        self._graph = graph
        recorder.count += 1


def graph_steps(work: Work, loader: TrainLoader, ranks: Any, num_batches: int) -> GraphSteps | None:
    """Return steps that are recorded, or None where they can't be; which it is, is said.

    Args:
        work: what a step does.
        loader: of the training batches.
        ranks: AdaLoRA's schedule, if it is the method.
        num_batches: that training reads.
    """
    if reason := reason_against(work, ranks):
        logger.warning("speed-ups  cuda-graph is off: %s", reason)
        return None
    device = work.accelerator.device
    feed, lengths = make_feed(work.task, loader, num_batches, device)
    mask_always(work.task.model)
    logger.info(
        "speed-ups  cuda-graph: batches of %s tokens; %s",
        ", ".join(map(str, lengths)),
        feed.note,
    )
    return GraphSteps(work, feed, CudaRecorder(device))


def reason_against(work: Work, ranks: Any) -> str:
    """Say why the steps of a training can't be recorded, or nothing where they may be.

    Args:
        work: what a step does.
        ranks: AdaLoRA's schedule, if it is the method.
    """
    args, accelerator = work.args, work.accelerator
    optimizer = getattr(work.optimizer, "optimizer", work.optimizer)
    reasons = {
        "this is no CUDA device": accelerator.device.type != "cuda",
        "several processes train together": distributed.world_size() > 1,
        "fp16 decides after each step whether it counts": accelerator.scaler is not None,
        "torch_compile records steps itself": bool(args.torch_compile),
        "activation checkpointing sets random states": bool(args.activation_checkpointing),
        "AdaLoRA changes its ranks between steps": ranks is not None,
        f"{type(optimizer).__name__} isn't torch's Adam or AdamW": type(optimizer) not in OPTIMIZERS,
        "the loss is the user's own": work.task.loss.own is not None,
        "the collator is the user's own": not is_plain(work.task.collator),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")
