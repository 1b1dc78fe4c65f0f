"""What a user began goes on without `--trust`, and nobody else's folder passes for theirs."""

from __future__ import annotations

import os

import pytest
from omegaconf import OmegaConf

from composing import compose_config
from finesweep.commands.confirm.command import confirm
from finesweep.commands.evaluate.command import evaluate
from finesweep.commands.report.command import write_report
from finesweep.commands.resume import resume
from finesweep.commands.train import launch, train
from finesweep.commands.validate import validate
from finesweep.config.authorship import is_own, key_file, marked
from finesweep.errors import FinesweepError
from finesweep.runs.reproduce import reproduce
from finesweep.runs.run import run
from finesweep.sweeps import winner
from finesweep.system.records import read_json

pytestmark = pytest.mark.usefixtures("few_resamples")
COMMANDS = {
    "reproduce": reproduce,
    "evaluate": lambda folder: evaluate(folder, [], as_json=True),
    "validate": lambda folder: validate(["--config-path", str(folder), "--config-name", "config"]),
    "train": lambda folder: launch(["--config-path", str(folder), "--config-name", "config"]),
}


@pytest.fixture
def words(tiny_overrides, tiny_csv, tmp_path, monkeypatch) -> list[str]:
    """Return the words of a run whose data are named by the environment; work in a folder of its own."""
    monkeypatch.setenv("PLACE", str(tiny_csv))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    kept = [word for word in tiny_overrides if not word.startswith("data.source.train=")]
    return [*kept, "data.source.train='${oc.env:PLACE}'"]


@pytest.fixture
def own_run(words):
    return run(compose_config(*words), overrides=words, quiet=True).folder


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.often("reproduce", "validate")
def test_a_run_of_one_s_own_reads_the_environment_and_another_user_s_doesn_t(
    command, own_run, tmp_path, monkeypatch, capsys
):
    COMMANDS[command](own_run)
    capsys.readouterr()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
    with pytest.raises((FinesweepError, SystemExit)) as refusal:
        COMMANDS[command](own_run)
    assert "--trust oc.env" in str(refusal.value) + capsys.readouterr().err


def test_what_a_replay_leaves_is_one_s_own_only_if_what_it_repeats_is(own_run, tmp_path, monkeypatch):
    reproduce(own_run)
    [copy] = [folder for folder in own_run.parent.iterdir() if folder != own_run]
    assert is_own(copy / "config.yaml")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
    reproduce(own_run, trusted=["oc.env"])
    [other] = [folder for folder in own_run.parent.iterdir() if folder not in (own_run, copy)]
    assert not is_own(other / "config.yaml")


def test_a_changed_file_is_no_longer_one_s_own(own_run):
    file = own_run / "config.yaml"
    assert is_own(file)
    file.write_text(file.read_text().replace("max_length: 16", "max_length: 17"))
    assert not is_own(file)
    assert not is_own(own_run / "overrides.yaml")


@pytest.mark.filterwarnings(r"ignore:\s*'hydra/.* is validated against ConfigStore")  # of such a file
def test_choices_beside_a_config_of_one_s_own_are_judged(own_run, capsys):
    place = own_run / "hydra" / "launcher"
    place.mkdir(parents=True)
    (place / "basic.yaml").write_text("_target_: evil.run\n")
    with pytest.raises(SystemExit):
        train(["--config-path", str(own_run), "--config-name", "config"])
    assert "--trust" in capsys.readouterr().err


def test_the_key_is_the_user_s_alone_and_without_one_all_is_judged(words, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))  # where no folder can be made
    folder = run(compose_config(*words), overrides=words, quiet=True).folder
    with pytest.raises(FinesweepError, match=r"--trust oc\.env"):
        reproduce(folder)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    run(compose_config(*words), overrides=words, quiet=True)
    assert key_file().stat().st_mode & 0o777 == 0o600


def test_without_a_home_a_file_is_written_without_a_mark(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "~no-such-user/state")
    assert marked("seed: 0\n") == "seed: 0\n"
    assert not is_own(tmp_path / "config.yaml")


@pytest.mark.campaign
def test_a_sweep_of_one_s_own_goes_on_with_its_storage_and_another_user_s_doesn_t(
    words, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("STUDIES", str(tmp_path / "studies.db"))
    storage = "hydra.sweeper.storage='sqlite:///${oc.env:STUDIES}'"
    kept = [word for word in words if not word.startswith("name=")]
    train(["-m", *kept, "name=mine", "peft.r=2,4", "hydra.sweeper.n_jobs=0", storage])
    folder = tmp_path / "outputs" / "sweeps" / "mine"
    write_report(folder, pictures=False)
    resume(folder)
    confirm(folder, top=1, seeds=2)
    confirm(folder, top=1, seeds=2)
    assert is_own(folder / "best.yaml")
    validate(["--config-path", str(folder), "--config-name", "best"])
    capsys.readouterr()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
    for command in (write_report, confirm, resume):
        with pytest.raises((FinesweepError, SystemExit)) as refusal:
            command(folder)
        assert "--trust" in str(refusal.value) + capsys.readouterr().err


@pytest.mark.campaign
def test_the_winner_of_one_s_own_sweep_is_judged_if_its_config_was_changed(words, tmp_path, caplog):
    train(["-m", *words, "name=mine", "peft.r=2", "hydra.sweeper.n_jobs=0"])
    trial = tmp_path / "outputs" / "sweeps" / "mine" / "trials" / "0"
    (trial / "predictions" / "test.parquet").unlink()
    config = OmegaConf.load(trial / "config.yaml")
    config.data.source = {"_target_": "os.mkdir", "path": "ran"}
    OmegaConf.save(config, trial / "config.yaml")
    resume(trial.parents[1])
    assert not os.path.exists("ran")
    assert not winner.is_tested(winner.RunFolder(trial))
    assert read_json(trial.parents[1] / "status.json")["state"] == "complete"
