"""What the benchmarks of training steps share: their settings, and a clock that waits for the device."""

from __future__ import annotations

import time
from typing import Any

import torch

BATCH, RATE = 16, 1e-3
ARGUMENTS: dict[str, Any] = {
    "per_device_train_batch_size": BATCH,
    "learning_rate": RATE,
    "eval_strategy": "no",
    "save_strategy": "no",
    "load_best_model_at_end": False,
    "logging_steps": 1,
}


def now() -> float:
    """Return the time, in seconds, at which the work given to the device is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
