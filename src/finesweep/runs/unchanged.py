"""Whether what a run stood on is still what it was, by the fingerprints in its folder."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from finesweep.errors import DataError, Fault, FinesweepError
from finesweep.runs.layout import RunFolder
from finesweep.runs.provenance import differences
from finesweep.system.paths import typed
from finesweep.system.records import read_json
from finesweep.system.version import __version__

if TYPE_CHECKING:
    from finesweep.data import TextData

# What is told apart; a revision alone changes nothing.
COMPARED = ("data", "tokenizer", "model.weights")


def recorded_fingerprints(folder: RunFolder) -> dict[str, Any]:
    """Return the fingerprints of a run's data, model and tokenizer; none where it left none."""
    return read_json(folder.provenance).get("fingerprints", {}) if folder.provenance.is_file() else {}


def check_data(folder: RunFolder, data: TextData, fix: str = "") -> None:
    """Refuse data that aren't those that a run was trained with.

    Args:
        folder: the run's.
        data: as they were read now.
        fix: how to go on all the same.

    Raises:
        DataError: what differs, split by split.
    """
    before = recorded_fingerprints(folder).get("data")
    if before is not None and data.fingerprint() != before:
        rule = f"Its data are not what they were when it was trained: {_changes(folder, data)}."
        fix = f"Bring them back to where its config.yaml names them. {fix}".strip()
        raise DataError(Fault(typed(folder.path), rule + _other_version(folder), fix=fix))


def check_fingerprints(folder: RunFolder, now: Mapping[str, Any]) -> None:
    """Refuse to go on with a run on other data, another model or another tokenizer.

    Args:
        folder: the run's.
        now: the fingerprints of what was read now.

    Raises:
        FinesweepError: one fault for each that differs.
    """
    before = recorded_fingerprints(folder)
    changed = [key for key, *_ in differences(before, dict(now)) if before and key in COMPARED]
    if changed:
        fix = "Bring it back to where its config.yaml names it, or start a new run."
        rules = [f"Its {key.replace('.', ' ')} changed since it was begun." for key in changed]
        raise FinesweepError(
            *(Fault(typed(folder.path), rule + _other_version(folder), fix=fix) for rule in rules)
        )


def _changes(folder: RunFolder, data: TextData) -> str:
    """Say how many rows of each split are new, by their texts."""
    from pyarrow import parquet

    before: dict[str, list[str]] = defaultdict(list)
    if folder.splits.is_file():
        rows = parquet.read_table(folder.splits, columns=["split", "hash"]).to_pydict()
        for split, text in zip(rows["split"], rows["hash"], strict=True):
            before[split].append(text)
    found = []
    for split, hashes in data.row_hashes().items():
        new, gone = Counter(hashes) - Counter(before[split]), Counter(before[split]) - Counter(hashes)
        if new or gone:
            found.append(f"{split} has {new.total()} rows that it hadn't, and lacks {gone.total()}")
    return "; ".join(found) or "the texts are the same, their labels or their order are not"


def _other_version(folder: RunFolder) -> str:
    version = read_json(folder.provenance).get("finesweep")
    if version == __version__:
        return ""
    return (
        f" It was made with finesweep {version}; this is {__version__}, which may cut the splits otherwise."
    )
