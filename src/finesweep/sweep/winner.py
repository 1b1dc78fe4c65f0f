"""Evaluate a sweep's winner, and nobody else, on the test split: once."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

from finesweep.rundir import RunFolder

logger = logging.getLogger(__name__)


def evaluate_winner(path: Path) -> None:
    """Add test metrics and predictions to a trial's folder, in a process of its own.

    The controller stays light this way. A folder that has them already is left alone.
    """
    if not (RunFolder(path).predictions / "test.parquet").exists():
        done = subprocess.run(
            [sys.executable, "-m", "finesweep.sweep.winner", str(path)], capture_output=True, text=True
        )
        if done.returncode:
            logger.warning("The winner could not be tested:\n%s", done.stderr.strip())


def main() -> None:
    """Evaluate the run folder named on the command line."""
    from finesweep.runner import evaluate_saved

    evaluate_saved(RunFolder(Path(sys.argv[1])), "test")


if __name__ == "__main__":
    main()
