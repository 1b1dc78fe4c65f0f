"""Run and sweep folders as they are left behind, written without training."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import optuna
import pyarrow as pa
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial
from pyarrow import parquet

from finesweep.runs.features import Features
from finesweep.runs.layout import RunFolder
from finesweep.system.files import write_json

NAMES = ["a", "b"]


def make_run(path, right, *, seed=0, rank=2, state="complete", objective="accuracy", split="test", shift=0):
    """Write a run's folder, of which `right` says which of its rows it gets right."""
    folder = RunFolder(path)
    folder.predictions.mkdir(parents=True)
    folder.adapter.mkdir()
    (folder.adapter / "adapter_model.safetensors").write_bytes(b"x" * 2048)
    config = {"seed": seed, "name": path.name, "peft": {"r": rank}, "trainer": {"learning_rate": 0.001}}
    folder.write_config(config, [])
    count, share = len(right), float(np.mean(right))
    metrics = {f"validation/{objective}": share, f"{split}/{objective}": share}
    write_json(folder.result, {
        "objective": {"metric": objective, "direction": "maximize", "value": share}, "metrics": metrics,
        "parameters": {"trainable": 1000 * rank, "total": 10**6}, "timings": {"train_s": 10.0 + seed},
    })  # fmt: skip
    write_json(
        folder.labels, {"names": NAMES, "values": NAMES, "problem_type": "single_label_classification"}
    )
    folder.write_status(state)
    ids = list(range(shift, shift + count))
    predicted = ["a" if good else "b" for good in right]
    table = {
        "id": ids,
        "label": ["a"] * count,
        "predicted": predicted,
        "p/a": [0.5] * count,
        "p/b": [0.5] * count,
    }
    parquet.write_table(pa.table(table), folder.predictions / f"{split}.parquet")
    rows = {"split": [split] * count, "id": ids, "hash": [f"h{i}" for i in ids]}
    parquet.write_table(pa.table(rows), folder.splits)
    return path


FEATURES = Features("single_label_classification", False, 1500, 5, 200.0, 0.99, "minilm", "peft.LoraConfig")


def make_finished(folder, points, features=FEATURES, state="complete", **columns):
    """Write what of a finished sweep another one reads: its points, best first, and features of its data."""
    (folder / "trials" / "7").mkdir(parents=True)
    rows = [{"number": 7, "state": "complete", "objective": 0.9, **point, **columns} for point in points]
    with (folder / "leaderboard.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    write_json(folder / "status.json", {"state": state})
    write_json(folder / "trials" / "7" / "provenance.json", {"features": asdict(features)})
    return folder


def draws(share, count=400, seed=0):
    """Return which of `count` rows are right, each with a probability of `share`."""
    return np.random.default_rng(seed).random(count) < share


NASTY = "<script>alert(1)</script>"
SPACE = {
    "peft.r": IntDistribution(2, 32, log=True),
    "trainer.learning_rate": FloatDistribution(1e-4, 1e-2, log=True),
    "data.kind": CategoricalDistribution(("plain", NASTY)),
}


def trial(number: int, state: str = "COMPLETE", values: tuple[float, ...] = (), space=SPACE, **attributes):
    """Return a trial whose objective is `values`, evaluated three times on the way."""
    choices = {
        "peft.r": 2 + number % 30,
        "trainer.learning_rate": 1e-4 * 1.5 ** (number % 11),
        "data.kind": NASTY,
    }
    curve = {step: (values or (0.5,))[0] - 0.1 / (step + 1) for step in range(3)} if len(values) < 2 else {}
    user = {"duration_s": 12.5, "trainable_parameters": 1000 * (2 + number % 30), **attributes}
    return create_trial(
        state=TrialState[state],
        params={name: choices[name] for name in space},
        distributions=dict(space),
        values=list(values) if state in ("COMPLETE", "PRUNED") and values else None,
        intermediate_values=curve,
        user_attrs=user,
        system_attrs={"finesweep:lease": {"host": "here", "pid": number % 2}},
    )


def make_sweep(
    folder: Path, trials, directions=("maximize",), objectives=None, name=f"study {NASTY}"
) -> Path:
    """Write what a sweep leaves, its run folders left out."""
    folder.mkdir(parents=True)
    study = optuna.create_study(
        study_name=name, storage=f"sqlite:///{folder / 'study.db'}", directions=list(directions)
    )
    study.add_trials(trials)
    settings = {"storage": None, "objectives": objectives, "n_trials": len(trials)}
    content = {
        "study_name": name,
        "settings": settings,
        "overrides": ["hydra.mode=MULTIRUN", f"name={NASTY}"],
    }
    content["space"] = {axis: str(distribution) for axis, distribution in SPACE.items()}
    (folder / "sweep.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(content)))
    (folder / "status.json").write_text(json.dumps({"state": "complete"}))
    return folder
