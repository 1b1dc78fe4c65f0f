"""Making the tables of `search_worth.py`: one sweep of finesweep for each data set, without pruning."""

from __future__ import annotations

import json
import math
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow import parquet
from worth_data import DATA_SETS
from worth_tables import RANK, RATE, write_table

from finesweep.data.labels import REGRESSION

TRAIN = Path(__file__).parents[1] / "train.py"
TRIALS = "outputs/sweeps/*/trials/*"
GLANCE_S, SHORTEST_S = 0.5, 40  # with less time it is no use beginning a sweep


@dataclass(frozen=True)
class Grid:
    """What is trained, and how.

    Args:
        ranks: of the adapter.
        rates: of learning.
        seeds: of each point.
        epochs: of each run.
        tokens: at most, of a text.
        slots: trials that train together in a worker.
        workers: processes.
        words: more of the command line.
    """

    ranks: Sequence[int]
    rates: Sequence[float]
    seeds: Sequence[int]
    epochs: int = 3
    tokens: int = 64
    slots: int = 1
    workers: int = 1
    words: Sequence[str] = ()

    @property
    def size(self) -> int:
        """How many runs it has."""
        return len(self.ranks) * len(self.rates) * len(self.seeds)

    def command(self, name: str, data: Path) -> list[str]:
        """Return the sweep of a data set; `purpose=confirm` lets each trial read the test split."""
        own = DATA_SETS[name]
        files = [
            f"data.source.{split}={data / name / split}.csv.gz" for split in ("train", "validation", "test")
        ]
        axes = {"seed": self.seeds, RANK: self.ranks, RATE: self.rates}
        return [
            sys.executable, str(TRAIN), "-m", "data=csv", *files, *own.words,
            f"objective.metric={own.metric}",
            *(f"{key}={','.join(map(str, values))}" for key, values in axes.items()),
            f"tokenizer.max_length={self.tokens}", f"trainer.num_train_epochs={self.epochs}",
            "hydra/sweeper/sampler=grid", "hydra/sweeper/pruner=none", "hydra.sweeper.purpose=confirm",
            f"hydra.sweeper.n_trials={self.size}", f"hydra.sweeper.n_jobs={self.workers}",
            f"hydra.sweeper.trials_per_worker={self.slots}", f"name={name}", "tracker=none", "baseline=none",
            *self.words,
        ]  # fmt: skip


def make_table(
    name: str, data: Path, grid: Grid, tables: Path, deadline: float = math.inf, runs: Path | None = None
) -> str:
    """Train a data set's grid, write its table, and say what came of it.

    Args:
        name: of the data set.
        data: the folder of the data sets' files.
        grid: what is trained.
        tables: where the table goes.
        deadline: by the monotonic clock; a sweep that is out of time leaves the trials that it completed.
        runs: where its runs are kept, and one that was cut short goes on; None where they are not.
    """
    began = time.monotonic()
    if began + SHORTEST_S > deadline:
        return f"{name}: left out, there is no time"
    with tempfile.TemporaryDirectory() as temporary:
        folder = runs / name if runs else Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        ended, said = _run(grid.command(name, data), folder, grid.size, deadline)
        count = keep_table(name, folder, grid, tables)
    took = time.monotonic() - began
    log = "" if count == grid.size else f"\n{said[-4000:]}"
    return f"{name}: {count} of {grid.size} runs in {took:.0f} s; the sweep {ended}{log}"


def keep_table(name: str, folder: Path, grid: Grid, tables: Path) -> int:
    """Write the table of the runs that a data set's sweep has completed, and return how many they are.

    Its file is named after the data set and its rows of training.
    """
    done = [run for run in sorted(folder.glob(TRIALS)) if (run / "result.json").is_file()]
    rows = [row for run in done for row in curve(run)]
    if rows:
        about = header(name, grid, done)
        write_table(tables / f"{name}-{about['rows']['train']}.parquet", rows, about)
    return len(done)


def _run(command: Sequence[str], folder: Path, runs: int, deadline: float) -> tuple[str, str]:
    """Run a sweep there until it has so many runs, and return how it ended and what was said."""
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    log, ended = folder / "log.txt", ""
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=env, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        while not ended:
            time.sleep(GLANCE_S)
            if len(list(folder.glob(f"{TRIALS}/result.json"))) == runs:
                ended = "was complete"  # what would follow trains a packed winner once more
            elif process.poll() is not None:
                ended = f"ended with {process.returncode}"
            elif time.monotonic() > deadline:
                ended = "ran out of time"
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # what it has completed is on the disk
            process.wait()
    logs = [log, *folder.glob("outputs/sweeps/*/workers/*.log")]
    return ended, "\n".join(one.read_text()[-1500:] for one in logs)


def curve(run: Path) -> list[dict[str, Any]]:
    """Return the rows of a finished run's folder; none of one that isn't finished."""
    if not (run / "result.json").is_file():
        return []
    result, config = json.loads((run / "result.json").read_text()), _config(run)
    metric = result["objective"]["metric"]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    evaluated = [line for line in lines if f"validation/{metric}" in line]
    point = {RANK: config["peft"]["r"], RATE: config["trainer"]["learning_rate"], "seed": config["seed"]}
    predicted = _validated(run, "predicted")
    return [
        {
            **point, "evaluation": number, "step": line["step"], "metric": line[f"validation/{metric}"],
            "loss": line["validation/loss"], "test": result["metrics"][f"test/{metric}"],
            "seconds": line["time"], "predicted": predicted,
        }
        for number, line in enumerate(evaluated, 1)
    ]  # fmt: skip


def _config(run: Path) -> dict[str, Any]:
    from finesweep.config.saved import read_config

    return read_config(run / "config.yaml")


def _validated(run: Path, column: str) -> list[float]:
    """Return a column of a run's predictions on validation; a label is its place among the names."""
    values = parquet.read_table(run / "predictions" / "validation.parquet")[column].to_pylist()
    schema = json.loads((run / "labels.json").read_text())
    is_number = schema["problem_type"] == REGRESSION
    return values if is_number else [schema["names"].index(value) for value in values]


def header(name: str, grid: Grid, runs: Sequence[Path]) -> dict[str, Any]:
    """Say how a table was made, and of what."""
    import peft as peft_library
    import torch
    import transformers

    from finesweep.runs.provenance import git_state

    own, first = DATA_SETS[name], runs[0]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    results = [json.loads((run / "result.json").read_text()) for run in runs]
    provenance = json.loads((first / "provenance.json").read_text())
    splits = Counter(parquet.read_table(first / "splits.parquet")["split"].to_pylist())
    return {
        "data": name, "description": own.description, "source": own.source, "rows": dict(splits),
        "metric": results[0]["objective"]["metric"],
        "labels": json.loads((first / "labels.json").read_text()), "truth": _validated(first, "label"),
        "features": provenance["features"],
        "model": "all-MiniLM-L6-v2", "peft": "lora, all-linear", "default": [8, 2e-3],
        "command": [Path(word).name if "/" in word else word for word in grid.command(name, Path())[1:]],
        "runs": len(runs), "seconds": round(sum(sum(one["timings"].values()) for one in results)),
        "slots": grid.slots, "device": device, "commit": (git_state(TRAIN.parent) or {}).get("commit"),
        "versions": {one.__name__: one.__version__ for one in (torch, transformers, peft_library)},
    }  # fmt: skip
