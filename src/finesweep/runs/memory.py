"""Is there memory enough for a training: asked before its first step."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finesweep.models.memory import MemoryEstimate, estimate, free_bytes, largest_batch
from finesweep.system.console import size_text

if TYPE_CHECKING:
    from finesweep.models.adapters import Adapted
    from finesweep.tokenization.notes import Encoded

logger = logging.getLogger(__name__)

BATCH, ACCUMULATION = "per_device_train_batch_size", "gradient_accumulation_steps"
# The estimate is an upper bound. A GPU says when its memory runs out, and training goes on in halves; on a
# CPU the system may end the process without a word, so that what is this far beyond is not tried.
HOPELESS = 2


@dataclass(frozen=True)
class Shortage:
    """Training would take more memory than is free.

    Args:
        needed: bytes, by the estimate.
        free: bytes.
        tokens: of the longest text.
        batch: rows that were asked for.
        accumulation: micro-batches in a step, as asked for.
        fitting: rows of a micro-batch that fit; None: not even one.
        on_cpu: where.
    """

    needed: int
    free: int
    tokens: int
    batch: int
    accumulation: int
    fitting: int | None
    on_cpu: bool

    @property
    def micro_batch(self) -> int | None:
        """The rows that are computed at a time, where more would likely end the process; else None."""
        return (self.fitting or 1) if self.on_cpu and self.needed > HOPELESS * self.free else None

    @property
    def keys(self) -> str:
        """The words of a command line that train with the same steps and fit; empty where none do."""
        if self.fitting is None:
            return ""
        steps = self.accumulation * self.batch // self.fitting
        return f"trainer.{BATCH}={self.fitting} trainer.{ACCUMULATION}={steps}"

    def __str__(self) -> str:
        said = (
            f"{self.batch} rows of up to {self.tokens} tokens may take {size_text(self.needed)}, "
            f"and {size_text(self.free)} is free"
        )
        if not self.keys:
            return f"{said}: not even one row at a time may fit; shorter texts or a smaller model would"
        if self.micro_batch:
            return f"{said}: they are computed {self.fitting} at a time, as with {self.keys}"
        return f"{said}; the same steps fit with {self.keys}"


def estimated_memory(adapted: Adapted, config: dict[str, Any], tokens: int | None = None) -> MemoryEstimate:
    """Estimate what training takes, from the config's batch and the length of its texts.

    Args:
        adapted: the model with its method.
        config: the run's.
        tokens: of the longest text; left out, as many as a text may have.
    """
    trainer = config["trainer"]
    in_16_bits = next(adapted.model.parameters()).dtype.itemsize == 2
    half = in_16_bits or bool(trainer.get("bf16") or trainer.get("fp16"))
    length = (tokens or config["tokenizer"]["max_length"]) + adapted.virtual_tokens
    return estimate(adapted.model, batch=trainer.get(BATCH, 8), tokens=length, half=half)


def shortage(adapted: Adapted, encoded: Encoded, config: dict[str, Any]) -> Shortage | None:
    """Compare what training takes with what is free on its device; None where it fits or can't be told.

    Args:
        adapted: the model with its method, still on the CPU.
        encoded: the texts.
        config: the run's.
    """
    import torch

    trainer = config["trainer"]
    on_cpu = bool(trainer.get("use_cpu")) or not torch.accelerator.is_available()
    device = torch.device("cpu") if on_cpu else torch.accelerator.current_accelerator(check_available=True)
    free = free_bytes(device)
    tokens = _longest(encoded, config["tokenizer"])
    needed = estimated_memory(adapted, config, tokens)
    if on_cpu:  # the weights are there already
        needed = MemoryEstimate(0, needed.training, needed.activations)
    if free is None or needed.total <= free:
        return None
    batch, accumulation = trainer.get(BATCH, 8), trainer.get(ACCUMULATION, 1)
    fitting = largest_batch(needed, batch, free)
    return Shortage(needed.total, free, tokens, batch, accumulation, fitting, on_cpu)


def _longest(encoded: Encoded, tokenizer: dict[str, Any]) -> int:
    """Return the tokens of the longest row of train, or what all are padded to."""
    lengths = encoded.lengths.get("train")
    most = tokenizer["max_length"]
    if tokenizer.get("padding") == "max_length" or lengths is None or not len(lengths):
        return most
    return min(most, int(lengths.max()))
