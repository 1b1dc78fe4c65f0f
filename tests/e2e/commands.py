"""Where the commands are, and where they leave their results."""

from __future__ import annotations

import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
FINESWEEP = str(Path(sys.executable).with_name("finesweep"))


def run_folder(root: Path) -> Path:
    """Return the only run folder under OUTPUTS."""
    (folder,) = (root / "outputs" / "runs").glob("*/*")
    return folder
