"""Fine-tuning sweeps, from one command to a result you can defend.

In Python: `finesweep.run(overrides)`, `finesweep.sweep(overrides)` and `finesweep.load(folder)`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["RunResult", "SweepResult", "load", "run", "sweep"]

if TYPE_CHECKING:
    from finesweep.api import SweepResult, load, run, sweep
    from finesweep.runs.run import RunResult


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `finesweep --help` waits for none of them."""
    if name not in __all__:
        raise AttributeError(f"module 'finesweep' has no attribute {name!r}")
    if name == "sweep":
        return importlib.import_module("finesweep.sweep")  # a package that can be called
    module = importlib.import_module("finesweep.runs.run" if name == "RunResult" else "finesweep.api")
    return getattr(module, name)
