"""What a run came to, and how it is read from its folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep.config.saved import read_config
from finesweep.errors import Fault, FinesweepError
from finesweep.runs.layout import RunFolder
from finesweep.system.records import read_json

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl


@dataclass(frozen=True)
class RunResult:
    """What a run came to.

    Args:
        folder: the run folder.
        state: `complete` or `pruned`.
        objective: the validation metric that the config names, at the best checkpoint.
        trainable: number of trained parameters.
        metrics: final metrics by name: `validation/accuracy`, `test/accuracy`, ...

    Example:
        >>> result = finesweep.run(["experiment=quick"])
        >>> result.objective, result.metrics["test/accuracy"], result.config["trainer"]["learning_rate"]
        (0.8685, 0.8732, 0.002)
        >>> unsure = result.predictions("validation").sort("p/tech").head()
    """

    folder: Path
    state: str
    objective: float
    trainable: int
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def config(self) -> dict[str, Any]:
        """The config that ran, complete."""
        return read_config(RunFolder(self.folder).config)

    def predictions(self, split: str = "test", *, pandas: bool = False) -> pl.DataFrame | pd.DataFrame:
        """Return the run's predictions: id, label, predicted label, every probability.

        Args:
            split: `test` or `validation`.
            pandas: a pandas frame instead of a polars one.

        Raises:
            FinesweepError: the run has none of this split.
        """

        return predictions_of(self.folder, split, pandas=pandas)

    def _repr_html_(self) -> str:
        """Show the metrics, and where the folder is, in a notebook."""
        single = [(name, value) for name, value in self.metrics.items() if name.count("/") == 1]
        rows = "".join(f"<tr><td>{escape(name)}</td><td>{value:.4f}</td></tr>" for name, value in single)
        head = f"{escape(self.state)}: {escape(str(self.folder))}, {self.trainable:,} trained parameters"
        return f"<p>{head}</p><table>{rows}</table>"


def read_result(path: Path) -> RunResult:
    """Read a finished run's result from its folder.

    Raises:
        FinesweepError: no run folder, or one without a result.
    """

    folder = RunFolder.open(path)
    if not folder.result.is_file():
        raise FinesweepError(
            Fault(str(path), "This run has no result.", fix=f"Finish it: finesweep resume {path}")
        )
    result = read_json(folder.result)
    state = folder.state()
    trainable = result["parameters"]["trainable"]
    return RunResult(folder.path, state, result["objective"]["value"], trainable, result["metrics"])


def predictions_of(path: Path, split: str, *, pandas: bool = False) -> pl.DataFrame | pd.DataFrame:
    """Return the predictions that a run's folder has of a split.

    Raises:
        FinesweepError: it has none.
    """
    file = RunFolder(path).predictions / f"{split}.parquet"
    if not file.is_file():
        present = tuple(sorted(other.stem for other in file.parent.glob("*.parquet")))
        raise FinesweepError(
            Fault("split", "The run has no predictions of this split.", split, valid=present)
        )
    if pandas:
        import pandas as library

        return library.read_parquet(file)
    import polars

    return polars.read_parquet(file)
