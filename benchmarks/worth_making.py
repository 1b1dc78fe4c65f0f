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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worth_data import DATA_SETS
from worth_tables import RANK, RATE, write_table

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


def make_table(name: str, data: Path, grid: Grid, tables: Path, deadline: float = math.inf) -> str:
    """Train a data set's grid, write its table, and say what came of it.

    Args:
        name: of the data set.
        data: the folder of the data sets' files.
        grid: what is trained.
        tables: where the table goes.
        deadline: by the monotonic clock; a sweep that is out of time leaves the trials that it completed.
    """
    began = time.monotonic()
    if began + SHORTEST_S > deadline:
        return f"{name}: left out, there is no time"
    with tempfile.TemporaryDirectory() as folder:
        ended, said = _run(grid.command(name, data), Path(folder), grid.size, deadline)
        took = time.monotonic() - began
        rows = [row for trial in sorted(Path(folder).glob(TRIALS)) for row in curve(trial)]
    runs = len({(row["seed"], row[RANK], row[RATE]) for row in rows})
    if rows:
        write_table(tables / f"{name}.parquet", rows, header(name, grid, took, runs))
    speed = f"{3600 * runs / took:.0f} runs an hour"
    log = "" if runs == grid.size else f"\n{said[-4000:]}"
    return f"{name}: {runs} of {grid.size} runs in {took:.0f} s, {speed}; the sweep {ended}{log}"


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
    return [
        {
            **point, "evaluation": number, "step": line["step"], "metric": line[f"validation/{metric}"],
            "loss": line["validation/loss"], "test": result["metrics"][f"test/{metric}"],
            "seconds": line["time"],
        }
        for number, line in enumerate(evaluated, 1)
    ]  # fmt: skip


def _config(run: Path) -> dict[str, Any]:
    from finesweep.config.saved import read_config

    return read_config(run / "config.yaml")


def header(name: str, grid: Grid, seconds: float, runs: int) -> dict[str, Any]:
    """Say how a table was made."""
    import peft as peft_library
    import torch
    import transformers

    from finesweep.runs.provenance import git_state

    own = DATA_SETS[name]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    return {
        "data": name, "description": own.description, "source": own.source, "metric": own.metric,
        "model": "all-MiniLM-L6-v2", "peft": "lora, all-linear", "default": [8, 2e-3],
        "command": [Path(word).name if "/" in word else word for word in grid.command(name, Path())[1:]],
        "runs": runs, "seconds": round(seconds), "slots": grid.slots, "device": device,
        "commit": (git_state(TRAIN.parent) or {}).get("commit"),
        "versions": {one.__name__: one.__version__ for one in (torch, transformers, peft_library)},
    }  # fmt: skip
