"""Where a study may lie: Optuna's journal keeps whole lines, SQLite is for one host."""

import json
import socket
import threading
from dataclasses import replace

import optuna
import pytest

from finesweep.config.trust import strangers
from finesweep.errors import ConfigError
from finesweep.sweeps.storage import check_hosts, open_storage
from finesweep.system.presence import Present

URL = "postgresql+psycopg2://me@host/database"


@pytest.mark.parametrize("torn", [b'{"op_code":5', b'{"op_code":4,"worker_id":"a', b"{", b'{"a":1}'])
def test_a_journal_outlives_the_line_that_a_killed_process_left(tmp_path, torn):
    study = optuna.create_study(study_name="s", storage=open_storage("journal", tmp_path))
    study.tell(study.ask(), 0.5)
    journal = tmp_path / "study.journal"
    with journal.open("ab") as file:
        file.write(torn)
    study.tell(study.ask(), 0.25)
    again = optuna.load_study(study_name="s", storage=open_storage("journal", tmp_path))
    assert [trial.value for trial in again.trials] == [0.5, 0.25]
    assert all(json.loads(line) for line in journal.read_text().splitlines())


def test_who_writes_a_journal_at_once_loses_nothing(tmp_path):
    optuna.create_study(study_name="s", storage=open_storage("journal", tmp_path))

    def write() -> None:
        study = optuna.load_study(study_name="s", storage=open_storage("journal", tmp_path))
        for _ in range(10):
            study.tell(study.ask(), 0.5)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trials = optuna.load_study(study_name="s", storage=open_storage("journal", tmp_path)).trials
    assert [trial.number for trial in trials] == list(range(40))
    assert {trial.value for trial in trials} == {0.5}


def test_a_stranger_s_journal_lies_in_the_sweep_s_folder_and_may_be_read(tmp_path):
    with strangers(()):
        open_storage("journal", tmp_path)
    assert (tmp_path / "study.journal").is_file()


@pytest.mark.parametrize(
    "storage", [None, "sqlite:////shared/study.db", {"_target_": "a.B", "url": "sqlite:///c"}]
)
def test_sqlite_is_refused_where_another_host_is_at_work(storage):
    here = Present.here()
    elsewhere = replace(here, host="node-7", host_id="node-7 another boot")
    check_hosts(storage, [here])
    with pytest.raises(
        ConfigError, match=r"node-7 works on this sweep[\s\S]*hydra\.sweeper\.storage=journal"
    ):
        check_hosts(storage, [here, elsewhere])
    for other in ("journal", URL):
        check_hosts(other, [here, elsewhere])


def test_a_host_that_has_booted_anew_is_another(tmp_path):
    here = Present.here()
    with pytest.raises(ConfigError, match="SQLite is for the processes of one host"):
        check_hosts(None, [replace(here, host_id=f"{here.host} an earlier boot")])


def test_a_server_that_never_answers_is_not_waited_for_without_end(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql+psycopg2://me@127.0.0.1:{silent.getsockname()[1]}/database"
        with pytest.raises(ConfigError, match=r"can't be opened: .*timeout expired"):
            open_storage(url, tmp_path, connect_wait_s=2)
