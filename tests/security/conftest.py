"""A finished run and a begun sweep, as a stranger would hand them over."""

from __future__ import annotations

import shutil
from pathlib import Path

import optuna
import pytest
from omegaconf import OmegaConf

from composing import compose_config
from finesweep.runs.run import run
from finesweep.sweeps import manifest


@pytest.fixture(scope="session")
def innocent(tiny_model, tiny_csv_text, tmp_path_factory) -> Path:
    """Return a finished run's folder."""
    place = tmp_path_factory.mktemp("innocent")
    (place / "tiny.csv").write_text(tiny_csv_text)
    words = ["data=csv", f"data.source.train={place / 'tiny.csv'}", f"model.name={tiny_model}",
             "threads=1",
             "tokenizer.max_length=16", "trainer.max_steps=2", "trainer.eval_steps=1", "tracker=none",
             "trainer.per_device_train_batch_size=8", "name=tiny",
             f"output_dir={place / 'outputs'}"]  # fmt: skip
    return run(compose_config(*words), overrides=words, quiet=True).folder


@pytest.fixture
def received(innocent, tmp_path, monkeypatch) -> Path:
    """Return a copy of it that may be changed, for another user, who works in a folder of their own.

    Who changes it leaves out the hashes that would tell.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "receiver"))
    shutil.copytree(innocent, tmp_path / "received", symlinks=True)
    (tmp_path / "received" / "files.json").unlink()
    return tmp_path / "received"


@pytest.fixture
def sweep(received, tmp_path, monkeypatch) -> Path:
    """Return a sweep's folder with a study of four trials, of which the best has the run's folder."""
    folder = tmp_path / "sweep"
    shutil.copytree(received, folder / "trials" / "0", symlinks=True)
    study = optuna.create_study(
        study_name="theirs", direction="maximize", storage=f"sqlite:///{folder / 'study.db'}"
    )
    for value in (0.9, 0.5, 0.6, 0.7):
        trial = optuna.create_trial(
            value=value,
            params={"x": value},
            distributions={"x": optuna.distributions.FloatDistribution(0, 1)},
        )
        study.add_trial(trial)
    config = OmegaConf.to_container(OmegaConf.load(received / "config.yaml"), resolve=False)
    settings = {
        "n_trials": 4,
        "storage": None,
        "objectives": None,
        "direction": "maximize",
        "purpose": "search",
    }
    words = ["data=csv", "peft.r=2,4", "hydra.sweeper.n_jobs=0"]
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "sender"))
    manifest.write(folder, {
        "finesweep": "1", "config_words": [], "overrides": words, "study_name": "theirs",
        "settings": settings, "space": {"x": "0 to 1"}, "space_hash": "", "default": {}, "config": config,
    })  # fmt: skip
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "receiver"))
    (folder / "leaderboard.csv").write_text("number,state\n0,complete\n")
    return folder
