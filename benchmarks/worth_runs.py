"""A table's runs as folders, as far as a sweep opens them: what they predicted, and how sure that is."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet
from worth_tables import Point, Table

from finesweep.data.labels import REGRESSION
from finesweep.runs.difference import difference, half_width
from finesweep.runs.layout import RunFolder
from finesweep.runs.outcome import HALF_WIDTHS
from finesweep.system.files import write_json
from finesweep.system.records import read_json

SPLIT = "validation"


class Runs:
    """The folders of a table's runs, each made when it is asked for first.

    A table without predictions has no folders, and whoever asks them for a difference learns none.

    Args:
        table: the runs.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._place = Path(tempfile.mkdtemp())
        weakref.finalize(self, shutil.rmtree, self._place)
        self._made: dict[tuple[Point, int], Path] = {}
        self._labels: dict[str, Any] = table.header.get("labels", {})
        self.metric: str = table.header.get("metric", "")

    def put(self, folder: Path, point: Point, seed: int) -> None:
        """Let a trial's folder be that of a run."""
        if self._table.curves[point][seed].predicted:
            folder.parent.mkdir(exist_ok=True)
            folder.symlink_to(self._folder(point, seed))

    def half_width(self, seed: int) -> float:
        """Return half of the 95% interval of the default's score over other rows; 0 where it isn't known."""
        default = self._table.default
        if not self._table.curves[default][seed].predicted:
            return 0.0
        result = read_json(RunFolder(self._folder(default, seed)).result)
        return result[HALF_WIDTHS][f"{SPLIT}/{self.metric}"] or 0.0

    def beats(self, folder: Path, other: Path) -> bool:
        """Whether a run's predictions are better than another's by more than luck explains."""
        first, second = [RunFolder(folder)], [RunFolder(other)]
        gap = difference(self.metric, first, second, SPLIT, maximizes=True)
        return gap is not None and gap.verdict == "better"

    def _folder(self, point: Point, seed: int) -> Path:
        if (point, seed) not in self._made:
            folder = self._place / str(len(self._made))
            self._made[point, seed] = folder
            self._write(RunFolder(folder), point, seed)
        return self._made[point, seed]

    def _write(self, run: RunFolder, point: Point, seed: int) -> None:
        run.predictions.mkdir(parents=True)
        predicted = [self._shown(one) for one in self._table.curves[point][seed].predicted]
        columns: dict[str, Any] = {
            "id": range(len(predicted)),
            "label": [self._shown(one) for one in self._table.header["truth"]],
            "predicted": predicted,
        }
        if self._labels["problem_type"] != REGRESSION:  # the score is of the labels, not of these
            columns |= {
                f"p/{name}": [float(one == name) for one in predicted] for name in self._labels["names"]
            }
        parquet.write_table(pa.table(columns), run.predictions / f"{SPLIT}.parquet")
        splits = {
            "split": [SPLIT] * len(predicted),
            "id": range(len(predicted)),
            "hash": [""] * len(predicted),
        }
        parquet.write_table(pa.table(splits), run.splits)
        write_json(run.labels, self._labels)
        about: dict[str, Any] = {"objective": {"metric": self.metric}}
        if point == self._table.default:  # nobody asks for another's
            about[HALF_WIDTHS] = {f"{SPLIT}/{self.metric}": half_width(self.metric, run, SPLIT)}
        write_json(run.result, about)

    def _shown(self, value: float) -> Any:
        return value if self._labels["problem_type"] == REGRESSION else self._labels["names"][int(value)]
