"""How much memory a training step will take, before it takes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from finesweep.system.console import size_text
from finesweep.system.machine import free_memory

ADAMW_STATES = 2


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that training holds at its peak.

    Args:
        weights: of the whole model.
        training: gradients of the trained weights, and AdamW's two averages.
        activations: what the forward pass keeps for the backward pass; 0 where the model's sizes have
            other names.
    """

    weights: int
    training: int
    activations: int

    @property
    def total(self) -> int:
        """Return the sum."""
        return self.weights + self.training + self.activations

    def packed(self, slots: int) -> MemoryEstimate:
        """Return what several trials take that train together on one copy of the frozen weights.

        Args:
            slots: how many.
        """
        trained = self.training // (1 + ADAMW_STATES)
        return MemoryEstimate(
            self.weights + (slots - 1) * trained, slots * self.training, slots * self.activations
        )

    def of_rows(self, share: float) -> MemoryEstimate:
        """Return what a part of the batch takes.

        Args:
            share: of its rows.
        """
        return MemoryEstimate(self.weights, self.training, int(self.activations * share))

    def __str__(self) -> str:
        parts = {
            "weights": self.weights,
            "gradients and AdamW": self.training,
            "activations": self.activations,
        }
        shown = ", ".join(f"{name} {size_text(size)}" for name, size in parts.items() if size)
        return f"about {size_text(self.total)} at full length ({shown})"


def estimate(model: Any, *, batch: int, tokens: int, half: bool = False) -> MemoryEstimate:
    """Estimate what training takes with AdamW.

    In 16 bits a layer keeps 34 bytes for each hidden unit of each token, and 5 for each head and pair of
    tokens (Korthikanti et al. 2022, arXiv:2205.05198, section 4.1); in 32 bits twice that. A layer whose own
    weights are frozen keeps less, so this is an upper bound for adapters.

    Args:
        model: with its method attached.
        batch: rows in a batch on one device.
        tokens: in a row.
        half: whether activations are in 16 bits (`bf16`, `fp16`).
    """
    config, parameters = model.config, list(model.parameters())
    trained = sum(p.nbytes for p in parameters if p.requires_grad)
    sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads")
    width, layers, heads = (getattr(config, size, 0) for size in sizes)
    in_16_bits = batch * tokens * layers * (34 * width + 5 * heads * tokens)
    return MemoryEstimate(
        weights=sum(p.nbytes for p in parameters),
        training=(1 + ADAMW_STATES) * trained,
        activations=in_16_bits * (1 if half else 2),
    )


def largest_batch(found: MemoryEstimate, batch: int, free: int) -> int | None:
    """Return the most rows that fit and divide a batch, so that its step stays the same; None: not even one.

    Args:
        found: the estimate of the whole batch.
        batch: its rows.
        free: bytes.
    """
    sizes = [rows for rows in range(batch, 0, -1) if batch % rows == 0]
    return next((rows for rows in sizes if found.of_rows(rows / batch).total <= free), None)


def free_bytes(device: Any) -> int | None:
    """Return the memory that is free on a device, with what torch holds of it and doesn't use; None: unknown.

    Args:
        device: a torch.device.
    """
    import torch

    if device.type == "cpu":
        return free_memory()
    if device.type != "cuda":
        return None
    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + held
