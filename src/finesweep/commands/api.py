"""finesweep in Python: what the commands do, with objects instead of a screen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep.commands.notebook import Words, with_data, words_of
from finesweep.commands.reporting import refusals_in_words
from finesweep.commands.train import launch
from finesweep.config.compose import compose
from finesweep.config.trust import strangers
from finesweep.errors import Fault, FinesweepError
from finesweep.runs.leaderboard import best_trial
from finesweep.runs.result import read_result
from finesweep.runs.run import run as run_config
from finesweep.runs.saved import SavedRun
from finesweep.system.console import quiet_bars
from finesweep.system.override_words import quoted, read_words
from finesweep.system.sweep_folder import SweepFolder

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    from omegaconf import DictConfig
    from plotly.graph_objects import Figure
    from transformers import Pipeline

    from finesweep.runs.result import RunResult


def run(config: DictConfig | Words = (), *, data: Any = None) -> RunResult:
    """Fine-tune once, as `python train.py OVERRIDES` does.

    Args:
        config: overrides: words as on the command line, dicts such as `{"peft.r": 4}`, or both in a list;
            or a composed config.
        data: rows instead of a data set's name: a pandas or polars frame, a `datasets` object, a list of
            dicts, or a dict of splits of these. They are written to OUTPUT_DIR/data: the run can be repeated.

    Raises:
        FinesweepError: the config, the data or the model can't be used, or training can't go on.

    Example:
        >>> result = finesweep.run(["experiment=quick", "peft.r=4"])
        >>> result.metrics["test/accuracy"]
        0.9155
    """
    from omegaconf import DictConfig

    with _as_a_cell():
        if isinstance(config, DictConfig):
            return run_config(config)
        words = words_of(config)
        composed = compose(words if data is None else with_data(words, data))
        with strangers(composed.vouched):
            return run_config(composed.config, origin=composed.origin, overrides=composed.origin.overrides)


def sweep(overrides: Words = (), folder: str | Path | None = None, *, data: Any = None) -> SweepResult:
    """Search, as `python train.py -m OVERRIDES` does; called again with the same folder, it goes on.

    Args:
        overrides: as for `run`; an axis is a text, `{"peft.r": "2,4"}` or `"peft.r=2,4"`.
        folder: of the sweep; left out, OUTPUT_DIR/sweeps/NAME with `name=NAME`, or one of its own.
        data: as for `run`.

    Raises:
        FinesweepError: the space or the config can't be used, or no trial was completed.

    Example:
        >>> found = finesweep.sweep(["experiment=quick", "peft.r=2,4", "name=ranks"])
        >>> found
        SweepResult(folder=PosixPath('/home/me/outputs/sweeps/ranks'))
    """
    with _as_a_cell():
        words = words_of(overrides)
        words = words if data is None else with_data(words, data)
        place = Path(folder) if folder is not None else _new_folder(words)
        launch(["-m", *words, f"hydra.sweeper.folder={quoted(place.absolute())}"])
    return SweepResult(place.absolute())


def load(path: str | Path, device: str | None = None) -> Pipeline:
    """Return a finished run as a transformers pipeline, its adapter merged where the method can be.

    Texts are cut as in training. A regression's pipeline gives the model's own, standardised numbers;
    `finesweep predict` gives the target's.

    Args:
        path: a run's folder, or a sweep's: then its best trial's.
        device: as torch calls it; left out, a GPU where there is one.

    Raises:
        FinesweepError: no complete run, or no such device.

    Example:
        >>> classify = finesweep.load(result.folder)
        >>> classify("Chelsea won the cup")
        [{'label': 'sports', 'score': 0.97}]
    """
    from finesweep.commands.predict.predictor import checked_device

    opened = SavedRun.open(path)
    if opened.is_plain:
        rule = "Its model is a plain torch module, of which transformers can make no pipeline."
        fix = f"finesweep predict {path} new.csv --trust {opened.setting('model._target_')}"
        raise FinesweepError(Fault(str(path), rule, fix=fix))
    place, tokenizer = checked_device(device), opened.tokenizer()
    tokenizer.model_max_length = opened.encoder().max_length
    import transformers

    task: Any = "token-classification" if opened.is_tokens else "text-classification"
    # Words can't be cut by a pipeline, which wants all of them back.
    options: dict[str, Any] = {} if opened.is_tokens else {"truncation": True}
    return transformers.pipeline(
        task,
        model=opened.plain_model(),  # type: ignore[arg-type]
        tokenizer=tokenizer,  # type: ignore[arg-type]
        device=place,
        **options,
    )


@dataclass(frozen=True)
class SweepResult:
    """What a sweep came to; at the end of a notebook's cell its leaderboard.

    Args:
        folder: the sweep folder.

    Example:
        >>> found = finesweep.SweepResult("outputs/sweeps/ranks")
        >>> found.best.objective, found.metrics["test/accuracy"], found.config["peft"]["r"]
        (0.8779, 0.8685, 4)
        >>> board = found.leaderboard(pandas=True)
        >>> wrong = found.predictions().filter(pl.col("label") != pl.col("predicted"))
        >>> found.figures()["history"].update_layout(width=600).write_html("history.html")
    """

    folder: Path

    def __post_init__(self) -> None:
        """Take a text for a path."""
        object.__setattr__(self, "folder", Path(self.folder))

    @property
    def best(self) -> RunResult:
        """The best trial.

        Raises:
            FinesweepError: no trial is complete.
        """
        return read_result(best_trial(self.folder))

    @property
    def metrics(self) -> dict[str, float]:
        """The best trial's final metrics by name."""
        return self.best.metrics

    @property
    def config(self) -> dict[str, Any]:
        """The best trial's config."""
        return self.best.config

    @property
    def report(self) -> Path:
        """The page with the figures."""
        return SweepFolder(self.folder).page

    def predictions(self, split: str = "test", *, pandas: bool = False) -> pl.DataFrame | pd.DataFrame:
        """Return the best trial's predictions; see RunResult.predictions."""
        return self.best.predictions(split, pandas=pandas)

    def leaderboard(self, *, pandas: bool = False) -> pl.DataFrame | pd.DataFrame:
        """Return every trial, the best first: number, state, objective, parameters, metrics.

        Args:
            pandas: a pandas frame instead of a polars one.
        """
        file = SweepFolder(self.folder).leaderboard
        if pandas:
            import pandas as library

            return library.read_csv(file)
        import polars

        return polars.read_csv(file, infer_schema_length=None)

    def figures(self) -> dict[str, Figure]:
        """Return the report's figures, as plotly and a notebook draw them: `history`, `curves`, ...

        Those that can't be drawn yet are left out; a parameter's slice is `slice/peft.r`.

        Raises:
            FinesweepError: no sweep folder, or a study that can't be opened.
        """
        from plotly.graph_objects import Figure

        from finesweep.commands.report import figures, record  # with Optuna, which a run does without

        sweep = record.read_sweep(self.folder)
        drawn = {figure.id: figure for figure in figures.figures(sweep)[0]}
        drawn |= {f"slice/{figure.title}": figure for figure in figures.slices(sweep)}
        return {
            name: Figure(figure.data, {"title": {"text": figure.title}, **figure.layout})
            for name, figure in drawn.items()
        }

    def _repr_html_(self) -> str:
        """Show the leaderboard, and where the report is, in a notebook."""
        from html import escape

        table: Any = self.leaderboard(pandas=True)
        shown = table.dropna(axis="columns", how="all").head(20).to_html(index=False)
        return f"<p>{escape(str(self.report))}</p>{shown}"


@contextmanager
def _as_a_cell() -> Iterator[None]:
    """Say what goes wrong as the command line does, and nothing of progress bars that nobody sees."""
    quiet_bars()
    with refusals_in_words():
        yield


def _new_folder(overrides: Sequence[str]) -> Path:
    from datetime import datetime
    from secrets import token_hex

    parsed = read_words(word for word in overrides if not word.startswith("-"))
    given = {one.key_or_group: one.value() for one in parsed if one.key_or_group in ("name", "output_dir")}
    name = given.get("name") or f"{datetime.now():%Y%m%d-%H%M%S}-{token_hex(3)}"
    return Path(str(given.get("output_dir", "outputs")), "sweeps", str(name))
