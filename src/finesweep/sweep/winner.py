"""Evaluate a sweep's winner, and nobody else, on the test split: once."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

from finesweep.rundir import RunFolder

logger = logging.getLogger(__name__)


def evaluate_winner(path: Path) -> None:
    """Add test metrics and predictions to a trial's folder; one that has them already is left alone.

    A controller that hasn't imported torch stays light: a process of its own does it.
    """
    if (RunFolder(path).predictions / "test.parquet").exists():
        return
    if "torch" in sys.modules:
        _evaluate(path)
    else:
        done = subprocess.run(
            [sys.executable, "-m", "finesweep.sweep.winner", str(path)], capture_output=True, text=True
        )
        if done.returncode:
            logger.warning("The winner could not be tested:\n%s", done.stderr.strip())


def _evaluate(path: Path) -> None:
    from finesweep.console import logging_to_console
    from finesweep.runner import evaluate_saved

    with logging_to_console(quiet=True):
        evaluate_saved(RunFolder(path), "test")


if __name__ == "__main__":
    _evaluate(Path(sys.argv[1]))
