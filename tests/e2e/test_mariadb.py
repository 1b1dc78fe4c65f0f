"""A study in a real MariaDB: workers of several processes, a password that is nowhere, names in two cases."""

from __future__ import annotations

import os
import subprocess

import optuna
import pytest

from commands import leaderboard, noop_words
from finesweep.errors import ConfigError
from finesweep.sweeps.plan import Plan, Settings
from finesweep.sweeps.space import Space
from mariadb_server import USER, running_server, why_not

pytest.importorskip("pymysql", reason="pymysql is missing: make test-scale installs it")
pytestmark = [pytest.mark.scale, pytest.mark.skipif(bool(why_not()), reason=why_not())]

PASSWORD = "canary-of-the-database"


@pytest.fixture(scope="module")
def port():
    with running_server(PASSWORD) as port:
        yield port


def address(port: int, password: str) -> str:
    return f"mysql+pymysql://{USER}:{password}@127.0.0.1:{port}/studies"


def test_two_workers_share_a_study_in_mariadb(port, tmp_path):
    storage = f"hydra.sweeper.storage='{address(port, '${oc.env:STUDY_PASSWORD}')}'"
    command = noop_words(tmp_path / "study", 20, storage, "hydra.sweeper.n_jobs=2", "sleeps=[0.1]")
    variables = {**os.environ, "LOG": str(tmp_path / "log"), "STUDY_PASSWORD": PASSWORD}
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (tmp_path / "log").read_text().splitlines()
    assert (len(lines), len({line.split()[0] for line in lines})) == (20, 2)
    study = optuna.load_study(study_name="study", storage=address(port, PASSWORD))
    assert [(trial.number, trial.state.name) for trial in study.trials] == [
        (number, "COMPLETE") for number in range(20)
    ]
    assert len(leaderboard(tmp_path / "study")) == 20
    assert PASSWORD not in done.stdout + done.stderr
    files = [file for file in (tmp_path / "study").rglob("*") if file.is_file()]
    assert not [file for file in files if PASSWORD.encode() in file.read_bytes()]


def test_a_study_whose_name_differs_in_case_alone_is_never_another_sweep_s(port, tmp_path, monkeypatch):
    monkeypatch.setenv("STUDY_PASSWORD", PASSWORD)
    storage = address(port, "${oc.env:STUDY_PASSWORD}")
    sampler, pruner = {"_target_": "optuna.samplers.RandomSampler"}, {"_target_": "optuna.pruners.NopPruner"}

    def open_study(name: str) -> None:
        settings = Settings("minimize", 1, 1, sampler, pruner, study_name=name, storage=storage)
        Plan(tmp_path, settings, Space({}, ()), None, None, None).open_study()  # type: ignore[arg-type]

    open_study("mine")
    with pytest.raises(ConfigError, match="has a study `mine`"):
        open_study("Mine")
