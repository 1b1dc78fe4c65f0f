"""What is the machine's fault is recognised behind any error, and kept apart from a trial's own."""

import errno
import os
import pickle
import subprocess
import tempfile
import threading

import optuna
import pytest
import sqlalchemy
from safetensors import SafetensorError

from finesweep.errors import DiskFull, StorageLost, StudyGone
from finesweep.sweeps.patience import PatientStorage, StudyFile, fault_of_machine, fault_of_storage
from finesweep.system import files
from finesweep.system.files import disk_full, disk_full_error, write_status
from finesweep.system.records import read_json

FULL = sqlalchemy.exc.OperationalError("INSERT", {}, Exception("database or disk is full"))


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "Kein Platz mehr"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("basic_ios::clear: No space left on device"),
        FULL,
    ],
    ids=["full", "quota", "safetensors", "torch", "sqlite"],
)
def test_a_full_disk_is_recognised_behind_any_error(tmp_path, error):
    outer = ValueError("could not be saved")
    outer.__cause__ = error
    assert isinstance(disk_full_error(outer, tmp_path), DiskFull)
    assert isinstance(fault_of_machine(outer, tmp_path), DiskFull)


def test_a_trial_s_own_mistakes_are_not_the_machine_s(tmp_path):
    own = sqlalchemy.exc.OperationalError("SELECT", {}, Exception("no such table: reviews"))
    for error in (own, FileNotFoundError(errno.ENOENT, "none"), RuntimeError("unexpected pos 64 vs 0")):
        assert fault_of_machine(error, tmp_path) is None


@pytest.mark.parametrize("setting", ["output_dir", "FINESWEEP_CACHE", "TMPDIR"])
def test_a_full_disk_is_named_with_what_would_choose_another(tmp_path, monkeypatch, setting):
    places = {
        "output_dir": tmp_path / "out",
        "FINESWEEP_CACHE": tmp_path / "cache",
        "TMPDIR": tmp_path / "tmp",
    }
    for name, place in places.items():
        place.mkdir()
        monkeypatch.setenv(name, str(place))
    monkeypatch.setattr(tempfile, "tempdir", str(places["TMPDIR"]))
    monkeypatch.setattr(files, "_disk_of", lambda path: path)
    monkeypatch.setattr(files, "_free", lambda place: 0 if place == places[setting] else 2**40)
    said = str(disk_full(places["output_dir"]))
    assert f"The disk is full ({places[setting]}, 0.0 MiB free)" in said
    assert f"or set {setting} to another disk." in said


def test_a_fault_says_the_same_in_another_process(tmp_path):
    fault = disk_full(tmp_path)
    assert str(pickle.loads(pickle.dumps(fault))) == str(fault)


def test_a_status_is_replaced_on_a_full_disk(tmp_path):
    disk = tmp_path / "small"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount).returncode:
        pytest.skip("mounting a small file system needs root, and to be allowed to")
    try:
        write_status(disk / "status.json", {"state": "running", "reason": "x" * 100})
        with pytest.raises(OSError, match="No space left"):
            (disk / "filler").write_bytes(bytes(2**20))
        write_status(disk / "status.json", {"state": "failed"})
        assert read_json(disk / "status.json") == {"state": "failed"}
        with pytest.raises(OSError, match="No space left"):
            write_status(disk / "another.json", {"state": "failed"})
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_damaged_study_is_not_waited_for(tmp_path):
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
    with storage.engine.begin() as connection:
        connection.execute(sqlalchemy.text("DROP TABLE studies"))
    with pytest.raises(StudyGone, match="no such table"):
        PatientStorage(storage, tmp_path).get_all_studies()
    storage.engine.dispose()


def test_a_study_that_is_put_in_another_s_place_is_noticed(tmp_path):
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
    file = StudyFile(storage, tmp_path)
    file.check()
    (tmp_path / "study.db").rename(tmp_path / "kept.db")
    with pytest.raises(StudyGone, match="is gone"):
        file.check()
    (tmp_path / "study.db").touch()
    with pytest.raises(StudyGone, match="another's place"):
        file.check()
    storage.engine.dispose()
    StudyFile(optuna.storages.InMemoryStorage(), tmp_path).check()


class Away:
    """A storage that is away for the first calls."""

    def __init__(self, calls: int, why: str = "connection refused") -> None:
        self.calls, self.seen, self.why = calls, 0, why

    def get_n_trials(self, study_id: int) -> int:
        self.seen += 1
        if self.seen <= self.calls:
            raise sqlalchemy.exc.OperationalError("SELECT", {}, ConnectionError(self.why))
        return study_id


def test_a_storage_that_is_away_is_waited_for_once(tmp_path, caplog):
    assert PatientStorage(Away(3), tmp_path, shortest_wait_s=0.01).get_n_trials(7) == 7
    assert [record.message.count("Waiting") for record in caplog.records] == [1, 0]
    storage = Away(100)
    patient = PatientStorage(storage, tmp_path, shortest_wait_s=0.01, longest_away_s=0.02)
    with pytest.raises(StorageLost, match="connection refused"):
        patient.get_n_trials(7)
    before = storage.seen
    with pytest.raises(StorageLost):  # on the way out nobody waits again
        patient.get_n_trials(7)
    assert storage.seen == before + 1


def test_a_server_that_serves_too_many_is_waited_for_longer_than_one_that_is_away(tmp_path, caplog):
    full = Away(3, "FATAL:  sorry, too many clients already")
    assert PatientStorage(full, tmp_path, shortest_wait_s=0.01).get_n_trials(7) == 7
    PatientStorage(Away(1), tmp_path, shortest_wait_s=0.01).get_n_trials(7)
    waits = [record.message.split("Waiting")[1] for record in caplog.records if "Waiting" in record.message]
    assert waits == [" for it, for 300 s at most.", " for it, for 60 s at most."]


def test_a_server_that_refuses_whoever_looks_up_what_another_has_made_is_away(tmp_path):
    made = sqlalchemy.exc.IntegrityError("INSERT", {}, ValueError("duplicate key"))
    refused = sqlalchemy.exc.OperationalError("SELECT", {}, ConnectionError("too many clients"))
    refused.__context__ = made
    assert isinstance(fault_of_storage(refused, tmp_path), StorageLost)
    assert fault_of_storage(made, tmp_path) is None


def test_who_is_told_to_stop_waits_no_more(tmp_path):
    patient = PatientStorage(Away(2), tmp_path, shortest_wait_s=3600)
    threading.Timer(0.1, patient.hurry).start()
    with pytest.raises(StorageLost, match="connection refused"):
        patient.get_n_trials(7)
    assert patient.get_n_trials(7) == 7  # it is back, and still asked
