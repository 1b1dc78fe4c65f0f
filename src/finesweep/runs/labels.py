"""labels.json: what a run's labels are called, and from which probability each is predicted."""

from __future__ import annotations

from collections.abc import Sequence

from finesweep.data.labels import LabelSchema
from finesweep.runs.layout import RunFolder
from finesweep.system.files import write_json
from finesweep.system.records import LABELS, read_json

THRESHOLDS = "thresholds"


def read_labels(folder: RunFolder) -> tuple[LabelSchema, tuple[float, ...] | None]:
    """Return a run's label schema, and the thresholds that were tuned for several labels a text.

    Raises:
        DamagedFile: labels.json is missing, or isn't what a run writes.
    """
    labels = read_json(folder.labels, LABELS)
    thresholds = labels.pop(THRESHOLDS, None)
    labels |= {"names": tuple(labels["names"]), "values": tuple(labels["values"])}
    return LabelSchema(**labels), tuple(thresholds) if thresholds else None


def write_labels(folder: RunFolder, schema: LabelSchema, thresholds: Sequence[float] = ()) -> None:
    """Write labels.json; thresholds only where there are some."""
    tuned = {THRESHOLDS: list(thresholds)} if thresholds else {}
    write_json(folder.labels, {**schema.to_json(), **tuned})
