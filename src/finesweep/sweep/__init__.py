"""Searches: a study, the workers that run its trials, and what they leave.

This package can be called: `finesweep.sweep(overrides)` runs a search, see finesweep.api.sweep.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from finesweep.sweep.trial import CurrentTrial, current_trial

if TYPE_CHECKING:
    from finesweep.api import SweepResult

__all__ = ["CurrentTrial", "current_trial"]


class _Sweep(ModuleType):
    """One name for the package, with `finesweep.sweep.current_trial()` in it, and for the function."""

    def __call__(self, *arguments: Any, **options: Any) -> SweepResult:
        from finesweep import api

        return api.sweep(*arguments, **options)


sys.modules[__name__].__class__ = _Sweep
