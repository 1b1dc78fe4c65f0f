"""The random state of a process, and what else changes the bits of its numbers."""

from __future__ import annotations

import random
from typing import Any


def seed_everything(seed: int, threads: int) -> None:
    """Seed Python, NumPy and torch, and pin what changes bits: threads, and kernels on a GPU."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    if torch.cuda.is_available():
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True, warn_only=True)
        settings: Any = torch.utils.deterministic
        settings.fill_uninitialized_memory = False  # nothing reads it; filling it is a launch more


def random_state() -> dict[str, Any]:
    """Return every generator's state, in types that torch.load takes with `weights_only`."""
    import numpy as np
    import torch

    numpy_state: Any = np.random.get_state()
    kind, words, *rest = numpy_state
    return {
        "python": random.getstate(),
        "numpy": (kind, words.tolist(), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def random_state_of(seed: int) -> dict[str, Any]:
    """Return what `random_state` would after a seed, and leave every generator as it is."""
    import torch

    before = random_state()
    torch.manual_seed(seed)
    found = random_state()
    set_random_state(before)
    return found


def set_random_state(state: dict[str, Any]) -> None:
    """Go back to what `random_state` returned."""
    import numpy as np
    import torch

    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
