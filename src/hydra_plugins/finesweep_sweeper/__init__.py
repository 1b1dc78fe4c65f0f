"""`hydra/sweeper=finesweep`: a thin shell over finesweep.sweeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from finesweep.config.build import register_resolvers


class FinesweepSweeper(Sweeper):
    """Search with Optuna: prune, resume, never wait for a slow trial.

    Args:
        settings: see finesweep.sweeps.plan.Settings; read from the config, interpolations kept.
    """

    def __init__(self, **settings: Any) -> None:
        self._context: HydraContext | None = None
        self._task_function: TaskFunction | None = None
        self._config: DictConfig | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra hands over."""
        self._context, self._task_function, self._config = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> None:
        """Search the space that the config and the command line describe."""
        from finesweep.sweeps.launch import sweep

        assert self._config is not None
        sweep(self._context, self._task_function, self._config, arguments, _write_report)


def _write_report(*arguments: Any, **options: Any) -> Path:
    from finesweep.commands.report.command import write_report  # at the end: it brings plotly

    return write_report(*arguments, **options)


# Hydra imports this file before it composes, so that any application may search `${finesweep.configs:}`.
register_resolvers()
