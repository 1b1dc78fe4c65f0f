"""A study in a real PostgreSQL, shared by workers, its password in the environment alone."""

import optuna
import pytest

from commands import leaderboard, sweep_folder
from finesweep.commands.report.command import write_report
from finesweep.errors import ConfigError, FinesweepError
from finesweep.sweeps.storage import open_storage
from postgres_server import USER, running_server

PASSWORD = "canary-of-the-database"


@pytest.fixture(scope="module")
def port():
    with running_server(PASSWORD) as port:
        yield port


def address(port: int, password: str) -> str:
    return f"postgresql+psycopg2://{USER}:{password}@127.0.0.1:{port}/postgres"


@pytest.mark.campaign
def test_two_workers_share_a_study_in_postgresql(port, call, words, tmp_path):
    storage = f"hydra.sweeper.storage='{address(port, '${oc.env:STUDY_PASSWORD}')}'"
    more = ["peft.r=2,4,8,16", "hydra.sweeper.n_jobs=2", "hydra/sweeper/pruner=none", "trainer.max_steps=2"]
    done = call("train.py", *words, *more, storage, "-m", environment={"STUDY_PASSWORD": PASSWORD})
    assert done.returncode == 0, done.stdout + done.stderr
    study = optuna.load_study(study_name="study", storage=address(port, PASSWORD))
    assert [trial.number for trial in study.trials] == [0, 1, 2, 3]
    assert {trial.state.name for trial in study.trials} == {"COMPLETE"}
    assert sorted(trial.params["peft.r"] for trial in study.trials) == [2, 4, 8, 16]
    folder = sweep_folder(tmp_path)
    assert sorted(row["peft.r"] for row in leaderboard(folder)) == ["16", "2", "4", "8"]
    assert not (folder / "study.db").exists()
    resumed = call("finesweep", "resume", str(folder), environment={"STUDY_PASSWORD": PASSWORD})
    assert resumed.returncode == 0, resumed.stderr
    assert PASSWORD not in done.stdout + done.stderr
    secret = PASSWORD.encode()
    assert not [file for file in folder.rglob("*") if file.is_file() and secret in file.read_bytes()]


def test_a_refused_password_is_a_mistake_that_doesn_t_repeat_it(port, tmp_path):
    with pytest.raises(ConfigError, match="password authentication failed") as mistake:
        open_storage(address(port, "canary-of-another"), tmp_path)
    assert "canary-of-another" not in str(mistake.value)


def test_a_storage_by_its_target_keeps_the_study_and_gets_its_report(sweep_here, words, tmp_path, capsys):
    """The sweep's own report trusts what its command line names; a stranger's folder needs --trust."""
    file = tmp_path / "journal.log"
    backend = f"{{_target_: optuna.storages.journal.JournalFileBackend, file_path: {file}}}"
    storage = f"{{_target_: optuna.storages.JournalStorage, log_storage: {backend}}}"
    sweep_here(*words, "peft.r=2,4", f"hydra.sweeper.storage={storage}")
    folder = sweep_folder(tmp_path)
    assert "could not be made" not in capsys.readouterr().out
    assert "reached accuracy" in (folder / "report.md").read_text()
    assert file.stat().st_size
    assert not (folder / "study.db").exists()
    with pytest.raises(FinesweepError, match="JournalStorage"):
        write_report(folder)
    targets = ["optuna.storages.JournalStorage", "optuna.storages.journal.JournalFileBackend"]
    assert write_report(folder, targets, pictures=False).is_file()


@pytest.mark.campaign
def test_a_database_by_its_target_gets_its_report_too(sweep_here, words, tmp_path):
    url = f"sqlite:///{tmp_path / 'own.db'}"
    storage = f"{{_target_: optuna.storages.RDBStorage, url: '{url}'}}"
    sweep_here(*words, "peft.r=2,4", "trainer.max_steps=2", f"hydra.sweeper.storage={storage}")
    assert "reached accuracy" in (sweep_folder(tmp_path) / "report.md").read_text()
    with pytest.raises(FinesweepError, match="--trust url"):
        write_report(sweep_folder(tmp_path), ["optuna.storages.RDBStorage"])
