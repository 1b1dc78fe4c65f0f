"""Connections to a study's database: one for a series of calls, none for a worker that trains."""

import os
import threading
import time

import optuna
import pytest
import sqlalchemy
from sqlalchemy import event

from finesweep.sweeps import connections
from finesweep.sweeps.connections import POOL, closed_if_it_fails, let_go_when_idle
from finesweep.sweeps.counting import num_ended, num_left, num_searched, states_of
from finesweep.sweeps.outline import FINALIST, OutlinedStorage


@pytest.fixture
def opened(tmp_path):
    """Return an engine with the pool that a server's has, and what happened to its connections."""
    happened = []
    engine = sqlalchemy.create_engine(
        f"sqlite:///{tmp_path / 'study.db'}",
        poolclass=sqlalchemy.pool.QueuePool,
        connect_args={"check_same_thread": False},
        **POOL,
    )
    event.listen(engine, "connect", lambda *_: happened.append("opened"))
    event.listen(engine, "close", lambda *_: happened.append("closed"))
    return engine, happened


def ask(engine) -> None:
    with engine.connect() as connection:
        assert connection.execute(sqlalchemy.text("select 1")).scalar() == 1


def wait_for(condition) -> None:
    limit = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_a_series_of_calls_has_one_connection_which_is_let_go_afterwards(opened):
    engine, happened = opened
    let_go_when_idle(engine, idle_s=1)
    for series in (1, 2):
        for _ in range(5):
            ask(engine)
        wait_for(lambda series=series: happened == ["opened", "closed"] * series)


def test_a_call_beside_another_gets_a_connection_at_once_and_keeps_none(opened):
    engine, happened = opened
    let_go_when_idle(engine, idle_s=60)
    with engine.connect(), engine.connect():
        assert happened == ["opened"] * 2
    assert happened == ["opened"] * 2 + ["closed"]


def test_a_call_that_lasts_longer_than_a_series_may_pause_leaves_no_connection_open(opened):
    engine, happened = opened
    let_go_when_idle(engine, idle_s=0.05)
    others = {*threading.enumerate()}
    ask(engine)
    with engine.connect():
        wait_for(
            lambda: others.issuperset(threading.enumerate())
        )  # the series is over for the one that watches
    wait_for(lambda: happened.count("closed") == happened.count("opened"))


@pytest.mark.parametrize(("used", "idle_s"), [(74, {"with_room_s": 0.05}), (75, {"idle_s": 0.05})])
def test_how_long_one_is_kept_follows_from_the_room_that_the_server_has(opened, monkeypatch, used, idle_s):
    engine, happened = opened
    monkeypatch.setitem(connections.NUM_CONNECTED, "sqlite", f"SELECT {used}, 100")
    let_go_when_idle(engine, **{"idle_s": 60, "with_room_s": 60, **idle_s})
    ask(engine)
    wait_for(lambda: happened == ["opened", "closed"])


def test_what_could_not_be_opened_leaves_no_connection_open(opened):
    engine, happened = opened

    @closed_if_it_fails()
    def ask_in_vain() -> None:
        ask(engine)
        raise RuntimeError("a second one is refused")

    with pytest.raises(RuntimeError, match="a second one is refused"):
        ask_in_vain()
    assert happened == ["opened", "closed"]
    with closed_if_it_fails():
        ask(engine)
    assert happened == ["opened", "closed", "opened"]


def test_a_forked_process_leaves_the_connection_to_its_parent(opened):
    engine, happened = opened
    let_go_when_idle(engine, idle_s=60)
    ask(engine)
    child = os.fork()
    if child == 0:
        ask(engine)
        os._exit(0 if happened == ["opened"] * 2 else 1)  # its own, and the parent's isn't closed
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    ask(engine)
    assert happened == ["opened"]


def test_an_outline_is_what_the_trials_are_whoever_changes_them(tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    outlined = OutlinedStorage(optuna.storages.RDBStorage(url))
    study = optuna.create_study(study_name="s", storage=url, direction="maximize")
    study_id = outlined.get_study_id_from_name("s")
    trials, seen = [study.ask() for _ in range(4)], []

    def look() -> None:
        outlines, trials = outlined.outlines(study_id), study.trials
        assert [(one.number, one.state, one.value) for one in outlines] == [
            (one.number, one.state, one.value) for one in trials
        ]
        counts = (num_searched, num_ended, lambda some: num_left(some, 7))
        assert [count(outlines) for count in counts] == [count(trials) for count in counts]
        assert +states_of(outlines) == states_of(trials)
        seen.append([one.state.name for one in outlines])

    look()
    study.tell(trials[2], 0.5)
    look()
    study.tell(trials[0], state=optuna.trial.TrialState.FAIL)
    study.tell(study.ask(), 0.25)
    study.enqueue_trial({"x": 0.5})
    look()
    study.tell(trials[1], 0.75)
    study.ask()
    finalist = optuna.create_trial(state=optuna.trial.TrialState.RUNNING, user_attrs={FINALIST: 2})
    study.add_trial(finalist)
    look()
    assert seen == [
        ["RUNNING"] * 4,
        ["RUNNING", "RUNNING", "COMPLETE", "RUNNING"],
        ["FAIL", "RUNNING", "COMPLETE", "RUNNING", "COMPLETE", "WAITING"],
        ["FAIL", "COMPLETE", "COMPLETE", "RUNNING", "COMPLETE", "RUNNING", "RUNNING"],
    ]


def test_a_storage_without_a_database_has_an_outline_too():
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(storage=storage)
    study.add_trial(optuna.trial.create_trial(value=2.0))
    assert [one.value for one in OutlinedStorage(storage).outlines(study._study_id)] == [2.0]


def test_a_trial_that_was_made_here_is_as_it_was_made_once_and_then_as_it_is(tmp_path):
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
    outlined = OutlinedStorage(storage)
    study_id = outlined.create_new_study([optuna.study.StudyDirection.MINIMIZE], "s")
    template = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING, user_attrs={"a": 1})
    trial_id, number = outlined.make_trial(study_id, template)
    storage.set_trial_user_attr(trial_id, "a", 2)
    assert [outlined.get_trial(trial_id).user_attrs["a"] for _ in range(2)] == [1, 2]
    assert (outlined.get_trial(trial_id), number) == (storage.get_trial(trial_id), 0)
