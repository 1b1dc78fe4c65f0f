"""A thread seals a checkpoint while training goes on; who needs it waits, and hears what went wrong."""

import threading

import pytest

from finesweep.training.checkpoints import STAGING, all_checkpoints, fault_of
from finesweep.training.saving import Saver


@pytest.fixture
def told():
    return []


@pytest.fixture
def saver(tmp_path, told):
    def hear(path):
        assert threading.current_thread() is threading.main_thread()
        told.append((path.name, fault_of(path)))

    return Saver(tmp_path, 1, hear)


def save(saver, step, best=None):
    with saver.saving(step, best, {"learning_rate": 0.1}) as staging:
        (staging / "weights").write_bytes(b"w" * 1000)


def names(folder):
    return [path.name for path in all_checkpoints(folder)]


def test_each_is_whole_before_the_next_is_begun(saver, tmp_path, told):
    for step in (2, 4, 6):
        save(saver, step, best=2)
        assert told == [(f"checkpoint-{before}", "") for before in range(2, step, 2)]
    saver.wait()
    assert told == [("checkpoint-2", ""), ("checkpoint-4", ""), ("checkpoint-6", "")]
    assert names(tmp_path) == ["checkpoint-2", "checkpoint-6"]  # the best, and the newest
    assert not (tmp_path / STAGING).exists()


@pytest.mark.parametrize("next_one", ["is saved", "is waited for"])
def test_what_goes_wrong_is_raised_where_training_is(saver, tmp_path, told, next_one):
    save(saver, 2)
    (tmp_path / "checkpoint-4").write_text("in the way")
    save(saver, 4)
    with pytest.raises(NotADirectoryError):
        save(saver, 6) if next_one == "is saved" else saver.wait()
    assert told == [("checkpoint-2", "")]
    assert not (tmp_path / STAGING).exists()
    saver.close()
    save(saver, 6)  # a loop that goes on after it can save again
    saver.wait()
    assert fault_of(tmp_path / "checkpoint-6") == ""


def test_when_training_ends_by_itself_nothing_is_written_afterwards(saver, tmp_path, told, caplog):
    save(saver, 2)
    saver.close()
    assert names(tmp_path) == ["checkpoint-2"]
    (tmp_path / "checkpoint-4").write_text("in the way")
    save(saver, 4)
    saver.close()
    assert "The last checkpoint couldn't be saved" in caplog.text
    assert not (tmp_path / STAGING).exists()


def test_of_a_save_that_is_cut_off_nothing_stays(saver, tmp_path):
    def cut_off():
        with saver.saving(2, None, {}) as staging:
            (staging / "weights").write_bytes(b"w")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_off()
    saver.wait()
    assert [path.name for path in tmp_path.iterdir()] == []
