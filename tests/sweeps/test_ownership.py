"""A study belongs to the sweep that began it; checkpoints to the config that they were trained with."""

import json
from types import SimpleNamespace

import optuna
import pytest

from finesweep.errors import ConfigError
from finesweep.runs.layout import RunFolder
from finesweep.sweeps.ownership import claim
from finesweep.sweeps.winner import is_tested
from finesweep.training.checkpoints import claim as claim_checkpoints
from finesweep.training.checkpoints import config_hash, newest_valid, seal, to_go_on_from


def study(storage, trials: int = 0):
    """Return what stands for a sweep's study: its Optuna study, and its trials."""
    opened = optuna.create_study(study_name="lora", storage=storage, load_if_exists=True)
    for _ in range(trials):
        opened.tell(opened.ask(), 0.5)
    return SimpleNamespace(name="lora", optuna=opened, trials=opened.get_trials)


@pytest.fixture
def storage(tmp_path):
    return f"sqlite:///{tmp_path / 'team.db'}"


def with_runs(folder, count=2):
    for number in range(count):
        (folder / "trials" / str(number)).mkdir(parents=True)
        (folder / "trials" / str(number) / "config.yaml").write_text("seed: 0\n")
    return folder


def test_a_sweep_goes_on_with_its_own_study(storage, tmp_path):
    claim(study(storage), tmp_path, "one", is_old=False)
    claim(study(storage, trials=3), with_runs(tmp_path), "one", is_old=False)


def test_another_sweep_s_study_is_refused(storage, tmp_path):
    claim(study(storage), tmp_path / "a", "one", is_old=False)
    for trials in (0, 2):
        with pytest.raises(ConfigError, match=r"this sweep didn't begin[\s\S]*sweeper\.study_name="):
            claim(study(storage, trials), tmp_path / "b", "two", is_old=False)


def test_a_study_of_plain_optuna_is_refused(storage, tmp_path):
    with pytest.raises(ConfigError, match="with 2 trials, that this sweep didn't begin"):
        claim(study(storage, trials=2), tmp_path, "one", is_old=False)


def test_a_folder_from_before_sweeps_had_ids_keeps_its_study(storage, tmp_path):
    claim(study(storage, trials=2), with_runs(tmp_path), "one", is_old=True)
    assert study(storage).optuna.user_attrs == {"finesweep:sweep": "one"}


@pytest.mark.parametrize("is_old", [False, True])
def test_trials_whose_study_is_lost_are_not_written_over(storage, tmp_path, is_old):
    with pytest.raises(ConfigError, match=r"is empty or new, and this folder holds 2 trials[\s\S]*study\.db"):
        claim(study(storage), with_runs(tmp_path), "one", is_old=is_old)


def config(rate=0.1, **more):
    return {"trainer": {"learning_rate": rate}, "seed": 0, "tracker": {"mode": "online"}, **more}


def checkpoint(folder, owner, step=1):
    claim_checkpoints(folder, owner)
    staging = folder / ".saving" / f"checkpoint-{step}"
    staging.mkdir(parents=True)
    (staging / "weights").write_text("w")
    seal(staging)
    staging.rename(folder / staging.name)


def test_a_checkpoint_of_another_config_is_passed_over(tmp_path):
    checkpoint(tmp_path, config_hash(config()))
    assert newest_valid(tmp_path, config_hash(config()))
    assert newest_valid(tmp_path, config_hash(config(tracker="none", threads=4)))
    assert newest_valid(tmp_path, config_hash(config(rate=0.2))) is None
    assert to_go_on_from(tmp_path, "auto", config_hash(config(rate=0.2))) is None


def test_a_checkpoint_from_before_they_said_whose_they_are_is_used(tmp_path):
    checkpoint(tmp_path, "")
    assert "owner" not in json.loads((tmp_path / "checkpoint-1" / "manifest.json").read_text())
    assert newest_valid(tmp_path, config_hash(config()))


def test_a_winner_without_test_metrics_is_tested_again(tmp_path):
    folder = RunFolder(tmp_path)
    folder.predictions.mkdir()
    assert not is_tested(folder)
    (folder.predictions / "test.parquet").write_bytes(b"")
    folder.result.write_text(json.dumps({"metrics": {"validation/accuracy": 1.0}}))
    assert not is_tested(folder)
    folder.result.write_text(json.dumps({"metrics": {"test/accuracy": 1.0}}))
    assert is_tested(folder)
