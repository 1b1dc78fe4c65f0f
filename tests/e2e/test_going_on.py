"""A sweep that goes on: under any folder's name, from any config, with every point of its space once."""

import shlex

import pytest

import finesweep
from commands import trials_of
from finesweep.commands.resume import resume
from finesweep.commands.train import launch
from finesweep.config.saved import read_config
from finesweep.errors import ConfigError

HERE = "hydra.sweeper.n_jobs=0"


@pytest.fixture
def small(words, tmp_path, monkeypatch):
    """Return the overrides of a sweep of short trials without a name."""
    monkeypatch.chdir(tmp_path)
    return [
        *(w for w in words if not w.startswith("name=")),
        "trainer.max_steps=2",
        HERE,
        "hydra/sweeper/pruner=none",
    ]


@pytest.mark.campaign
def test_a_space_that_was_searched_in_part_is_searched_to_its_end(small, tmp_path, capsys):
    folder = tmp_path / "josé's runs, date=2024 (1)"
    ranks = ["peft.r=2,4,8,16", "hydra/sweeper/sampler=random"]
    finesweep.sweep([*small, *ranks, "hydra.sweeper.n_trials=2"], folder=folder)
    tried = [trial.params["peft.r"] for trial in trials_of(folder)]
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("confirm it")]
    program, *words = shlex.split(line)[2:]
    assert program.endswith("finesweep")  # its place, where a shell wouldn't find it
    assert words == ["confirm", folder.name]
    resume(folder, ["hydra.sweeper.n_trials=4"])
    found = [trial.params["peft.r"] for trial in trials_of(folder)]
    assert found[:2] == tried
    assert sorted(found) == [2, 4, 8, 16]


@pytest.mark.campaign
def test_a_saved_config_is_searched_around_as_any_other(small, tmp_path):
    saved = finesweep.run([*(w for w in small if "sweeper" not in w), "trainer.weight_decay=0.07"]).folder
    around = ["--config-path", str(saved), "--config-name", "config", "hydra.sweeper.n_jobs=0", "name=around"]
    launch(["-m", *around, "peft.r=2,4", "hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=1"])
    folder = tmp_path / "outputs" / "sweeps" / "around"
    resume(folder, ["hydra.sweeper.n_trials=2"])
    assert sorted(trial.params["peft.r"] for trial in trials_of(folder)) == [2, 4]
    assert read_config(folder / "best.yaml")["trainer"]["weight_decay"] == 0.07


@pytest.mark.parametrize("option", ["--cfg=job", "--info=defaults", "-cjob"])
def test_what_shows_one_config_is_not_asked_for_many(option):
    with pytest.raises(ConfigError, match="Leave -m out"):
        launch(["-m", option, "peft.r=2,4"])


@pytest.mark.campaign
def test_a_sweep_of_the_user_s_own_config_goes_on_from_it(small, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "mine.yaml").write_text("defaults:\n  - train\n  - _self_\ntrainer:\n  weight_decay: 0.07\n")
    launch(["-m", "--config-dir", "own", "--config-name", "mine", *small, "name=seeds", "seed=1,2",
            "hydra.sweeper.n_trials=1"])  # fmt: skip
    folder = tmp_path / "outputs" / "sweeps" / "seeds"
    resume(folder, ["hydra.sweeper.n_trials=2"])
    assert sorted(trial.params["seed"] for trial in trials_of(folder)) == [1, 2]
    for number in (0, 1):
        assert read_config(folder / "trials" / str(number) / "config.yaml")["trainer"]["weight_decay"] == 0.07
