"""A checkpoint is used when every byte is as it was sealed; otherwise the next older one."""

import pytest

from finesweep.checkpoints import all_checkpoints, fault_of, newest_valid, rotate, seal


@pytest.fixture
def folder(tmp_path):
    for step in (2, 10):
        checkpoint = tmp_path / f"checkpoint-{step}"
        (checkpoint / "inner").mkdir(parents=True)
        (checkpoint / "weights").write_bytes(b"w" * 100)
        (checkpoint / "inner" / "state").write_bytes(b"s" * 10)
        seal(checkpoint)
    return tmp_path


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
        (folder / f"checkpoint-{step}").mkdir()
    rotate(folder, 1, best=folder / "checkpoint-2")
    assert [path.name for path in all_checkpoints(folder)] == ["checkpoint-2", "checkpoint-30"]
    rotate(folder, 0, best=None)
    assert [path.name for path in all_checkpoints(folder)] == ["checkpoint-30"]
