"""Searches: a study, the workers that run its trials, and what they leave.

This package can be called: `finesweep.sweep(overrides, folder=None)` runs a search, as `python train.py -m`
does; called again with the same folder, it goes on. See finesweep.api.sweep.

Example:
    >>> found = finesweep.sweep(["experiment=quick", "peft.r=2,4", "name=ranks"])
    >>> found
    SweepResult(folder=PosixPath('/home/me/outputs/sweeps/ranks'))
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
