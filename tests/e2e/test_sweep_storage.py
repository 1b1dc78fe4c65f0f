"""A study in a real PostgreSQL, shared by workers, its password in the environment alone."""

import optuna
import pytest

from commands import leaderboard, sweep_folder
from finesweep.errors import ConfigError
from finesweep.sweep.plan import open_storage
from postgres_server import USER, running_server

PASSWORD = "canary-of-the-database"


@pytest.fixture(scope="module")
def port():
    with running_server(PASSWORD) as port:
        yield port


def address(port: int, password: str) -> str:
    return f"postgresql+psycopg2://{USER}:{password}@127.0.0.1:{port}/postgres"


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
