"""A checkpoint is used when every byte is as it was sealed; otherwise the next older one."""

import pytest

from finesweep.training.checkpoints import all_checkpoints, fault_of, newest_valid, rotate, seal


@pytest.fixture
def folder(tmp_path):
    for step in (2, 10):
        add(tmp_path, step)
    return tmp_path


def add(folder, step, best=None):
    checkpoint = folder / f"checkpoint-{step}"
    (checkpoint / "inner").mkdir(parents=True)
    (checkpoint / "weights").write_bytes(b"w" * 100)
    (checkpoint / "inner" / "state").write_bytes(b"s" * 10)
    seal(checkpoint, best)


def names(folder):
    return [path.name for path in all_checkpoints(folder)]


def test_the_newest_is_found_by_its_step_not_its_name(folder):
    assert newest_valid(folder).name == "checkpoint-10"
    assert [path.name for path in all_checkpoints(folder)] == ["checkpoint-2", "checkpoint-10"]


@pytest.mark.parametrize("file", ["weights", "inner/state", "manifest.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "one bit flipped"])
def test_a_damaged_checkpoint_is_passed_over(folder, file, damage):
    path = folder / "checkpoint-10" / file
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.write_bytes(content[:5] + bytes([content[5] ^ 1]) + content[6:])
    assert fault_of(folder / "checkpoint-10")
    assert newest_valid(folder).name == "checkpoint-2"


def test_without_a_valid_one_there_is_none(folder):
    for checkpoint in all_checkpoints(folder):
        (checkpoint / "weights").unlink()
    assert newest_valid(folder) is None
    assert newest_valid(folder / "nowhere") is None


def test_rotation_keeps_the_best_and_the_newest(folder):
    for step in (20, 30):
        add(folder, step)
    rotate(folder, 1, best=folder / "checkpoint-2")
    assert names(folder) == ["checkpoint-2", "checkpoint-30"]
    rotate(folder, 0, best=None)
    assert names(folder) == ["checkpoint-30"]


def test_rotation_never_removes_the_last_valid_one(folder):
    for step in (20, 30):
        add(folder, step)
        (folder / f"checkpoint-{step}" / "weights").write_bytes(b"other")
    rotate(folder, 1, best=None)
    assert names(folder) == ["checkpoint-10", "checkpoint-30"]
    rotate(folder, 2, best=None)
    assert newest_valid(folder).name == "checkpoint-10"
    rotate(folder, 1, best=folder / "checkpoint-10")
    assert names(folder) == ["checkpoint-10", "checkpoint-30"]
    add(folder, 40)
    rotate(folder, 1, best=None)
    assert names(folder) == ["checkpoint-40"]


def test_rotation_keeps_the_best_one_of_the_last_valid_one(folder):
    """The newest is the best, and damaged; the one before needs the best of its time."""
    add(folder, 20, best=10)
    add(folder, 30, best=30)
    (folder / "checkpoint-30" / "weights").unlink()
    rotate(folder, 1, best=folder / "checkpoint-30")
    assert names(folder) == ["checkpoint-10", "checkpoint-20", "checkpoint-30"]
    assert newest_valid(folder).name == "checkpoint-20"


def test_rotation_verifies_no_more_than_it_needs(folder):
    verified = []

    def verify(path):
        verified.append(path.name)
        return fault_of(path)

    rotate(folder, 2, best=None, verify=verify)
    assert verified == []
    rotate(folder, 1, best=None, verify=verify)
    assert verified == ["checkpoint-10"]
