"""Fine-tuning sweeps, from one command to a result you can defend.

In Python: `finesweep.run(overrides)`, `finesweep.sweep(overrides)` and `finesweep.load(folder)`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from finesweep.system.version import __version__ as __version__

__all__ = ["RunResult", "SweepResult", "current_trial", "load", "run", "sweep"]

if TYPE_CHECKING:
    from finesweep.commands.api import SweepResult, load, run, sweep
    from finesweep.runs.result import RunResult
    from finesweep.sweeps.trial import current_trial

# Where the public names are that `finesweep.commands.api` doesn't have.
ELSEWHERE = {"RunResult": "finesweep.runs.result", "current_trial": "finesweep.sweeps.trial"}


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `finesweep --help` waits for none of them."""
    if name not in __all__:
        raise AttributeError(f"module 'finesweep' has no attribute {name!r}")
    return getattr(importlib.import_module(ELSEWHERE.get(name, "finesweep.commands.api")), name)
