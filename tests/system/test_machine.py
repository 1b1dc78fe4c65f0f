"""How many cores a process may use, and what it leaves to others."""

import io
import os
import stat
import sys

import pytest

from finesweep.system import machine
from finesweep.system.files import write_folder
from finesweep.system.machine import _quota, allowed_cores, default_workers, free_memory, usable_cores
from finesweep.system.terminal import speak_any_locale, typed_text


@pytest.fixture
def sixteen(monkeypatch):
    """Be tied to 16 cores, without a quota or anybody's wish."""
    monkeypatch.setattr(machine, "_tied_cores", lambda: 16)
    monkeypatch.setattr(machine, "_quota", lambda: None)
    for name in ("OMP_NUM_THREADS", "LOCAL_WORLD_SIZE", "FINESWEEP_THREADS"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def write(folder, **files):
    for name, content in files.items():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name.replace("__", ".")).write_text(content)


@pytest.mark.parametrize(
    ("content", "cores"), [("200000 100000", 2), ("max 100000", None), ("150000 100000", 1)]
)
def test_a_quota_of_a_control_group_is_read(tmp_path, content, cores):
    own = tmp_path / "own"
    own.write_text("0::/here\n")
    write(tmp_path / "here", cpu__max=content)
    assert _quota(tmp_path, own) == cores
    assert _quota(tmp_path / "here", own) == cores  # a container sees its own group as the root


def test_so_is_one_of_the_older_kind(tmp_path):
    own = tmp_path / "own"
    own.write_text("4:memory:/m\n1:cpu,cpuacct:/here\n")
    write(tmp_path / "cpu", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    assert _quota(tmp_path, own) is None
    write(tmp_path / "cpu" / "here", cpu__cfs_quota_us="300000", cpu__cfs_period_us="100000")
    assert _quota(tmp_path, own) == 3


def test_a_container_s_memory_is_what_its_group_leaves(tmp_path):
    own, new, old = tmp_path / "own", tmp_path / "new", tmp_path / "old"
    own.write_text("4:memory:/m\n0::/here\n")
    assert free_memory(new, own) > 3000
    write(new, memory__max="max", memory__current="1", memory__stat="anon 1\ninactive_file 0")
    assert free_memory(new, own) > 3000
    write(new / "here", memory__max="5000", memory__current="3000", memory__stat="anon 2\ninactive_file 500")
    assert free_memory(new, own) == 2500  # what the system has read from files it gives back
    names = {"memory__limit_in_bytes": "900", "memory__usage_in_bytes": "1000"}
    write(old / "memory" / "m", **names, memory__stat="total_inactive_file 50")
    assert free_memory(old, own) == 0


def test_the_smallest_limit_counts(sixteen):
    assert allowed_cores() == 16
    sixteen.setattr(machine, "_quota", lambda: 2)
    assert (allowed_cores(), usable_cores(), default_workers()) == (2, 2, 2)
    sixteen.setattr(machine, "_quota", lambda: 0)
    assert allowed_cores() == 1
    sixteen.setattr(machine, "_quota", lambda: None)
    sixteen.setenv("OMP_NUM_THREADS", "3,1")
    assert (allowed_cores(), usable_cores()) == (3, 3)


def test_what_a_launcher_sets_for_its_processes_is_nobody_s_wish(sixteen):
    sixteen.setenv("OMP_NUM_THREADS", "1")
    sixteen.setenv("LOCAL_WORLD_SIZE", "2")
    assert usable_cores() == 8


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_saved_files_have_the_modes_that_the_umask_gives(tmp_path, umask):
    def fill(folder):
        (folder / "private").touch(mode=0o600)
        (folder / "private").chmod(0o600)

    before = os.umask(umask)
    try:
        write_folder(tmp_path / "made", fill)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "made" / "private").stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_a_terminal_without_umlauts_gets_them_spelled_out(errors, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors=errors)
    monkeypatch.setattr(sys, "stdout", stream)
    speak_any_locale()
    print("grün")
    stream.flush()
    assert stream.buffer.getvalue() == b"gr\\xfcn\n"  # type: ignore[attr-defined]
    assert typed_text("gr\udcc3\udcbcn") == "grün"
