"""How many runs have read a test split: with each look at it the best of them looks better than it is."""

from __future__ import annotations

import hashlib
from pathlib import Path

from finesweep.data import TextData
from finesweep.runs.layout import RunFolder
from finesweep.system.sweep_folder import SweepFolder

TEST_SPLIT = "test_split"  # in result.json, of those that have read it


def hash_of_test(data: TextData) -> dict[str, str]:
    """Return, for result.json, what the test split's rows are known by, in whatever order they stand."""
    hashes = sorted(data.row_hashes()["test"])
    return {TEST_SPLIT: hashlib.sha256("".join(hashes).encode()).hexdigest()}


def num_readers(output_dir: str | Path, split: str) -> int:
    """Count the runs and trials under an output folder that have read a test split.

    Args:
        output_dir: where runs/ and sweeps/ are.
        split: its hash.
    """
    root = Path(output_dir)
    sweeps = [SweepFolder(path) for path in (root / "sweeps").glob("*")]
    places = [*(root / "runs").glob("*/*")]
    for sweep in [*sweeps, *(sweep.confirm for sweep in sweeps)]:
        places += [*sweep.trials.glob("*"), *sweep.repeats.glob("*")]
    files = [RunFolder(place).result for place in places]
    return sum(split.encode() in file.read_bytes() for file in files if file.is_file())
