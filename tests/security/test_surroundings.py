"""What a stranger's folder can't do by lying where one works, or by how its names are spelled."""

from __future__ import annotations

import subprocess
import sys

import pytest

from finesweep.errors import Fault, FinesweepError
from finesweep.runs.provenance import git_state
from finesweep.system.console import make_console, show_error
from finesweep.system.paths import input_path
from finesweep.system.processes import import_environment
from finesweep.system.terminal import visible


@pytest.fixture
def repository(tmp_path):
    def git(*words: str) -> None:
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True, capture_output=True)

    git("init", "-q")
    (tmp_path / "file.txt").write_text("before\n")
    git("add", "-A")
    git("-c", "user.name=x", "-c", "user.email=x@y", "commit", "-qm", "first")
    (tmp_path / "file.txt").write_text("after\n")
    return tmp_path, git


@pytest.mark.parametrize(
    "seam", ["core.fsmonitor", "diff.external", "diff.x.command", "diff.x.textconv", "filter.x.clean"]
)
def test_a_repository_s_commands_are_not_run(repository, seam):
    folder, git = repository
    command = folder / "evil.sh"
    command.write_text(f"#!/bin/sh\ntouch {folder}/ran\ncat\n")
    command.chmod(0o755)
    (folder / ".gitattributes").write_text("*.txt diff=x filter=x\n")
    git("config", seam, str(command))
    state = git_state(folder)
    assert state is not None
    assert "+after" in state["diff"]
    assert not (folder / "ran").exists()


def test_a_worker_imports_from_where_its_controller_does(tmp_path, monkeypatch):
    (tmp_path / "here.py").write_text("")
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-c", "import here"]
    assert subprocess.run(command, env=import_environment(), capture_output=True).returncode
    monkeypatch.syspath_prepend(tmp_path)
    assert not subprocess.run(command, env=import_environment(), capture_output=True).returncode


def test_control_characters_are_shown(capsys):
    assert visible("a\x1b[2Jb\nc\u202e") == "a\\x1b[2Jb\nc\\u202e"
    show_error(FinesweepError(Fault("\x1b]0;x\x07", "No.", "\x9b31m")))
    make_console().print("\x1b[2J", markup=False)
    shown = capsys.readouterr()
    assert "\x1b" not in shown.err + shown.out
    assert "\\x1b[2J" in shown.out


@pytest.mark.parametrize("name", ["x", "a=b"])
def test_a_filter_that_another_file_configures_is_not_run(repository, name):
    folder, git = repository
    command = folder / "evil.sh"
    command.write_text(f"#!/bin/sh\ntouch {folder}/ran\ncat\n")
    command.chmod(0o755)
    (folder / ".gitattributes").write_text(f"*.txt filter={name}\n")
    (folder / "more").write_text(f'[filter "{name}"]\nclean = {command}\n')
    git("config", "include.path", str(folder / "more"))
    assert "+after" in git_state(folder)["diff"]
    assert not (folder / "ran").exists()


def test_what_a_repository_lacks_is_not_fetched(repository):
    folder, git = repository
    (folder / "evil.sh").write_text(f"#!/bin/sh\ntouch {folder}/ran\n")
    (folder / "evil.sh").chmod(0o755)
    for key, value in {
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.promisor": "true",
        "remote.origin.url": str(folder),
        "remote.origin.uploadpack": str(folder / "evil.sh"),
        "protocol.allow": "always",
    }.items():
        git("config", key, value)
    blob = subprocess.run(
        ["git", "-C", str(folder), "rev-parse", "HEAD:file.txt"], capture_output=True, text=True, check=True
    ).stdout.strip()
    (folder / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    git_state(folder)
    assert not (folder / "ran").exists()
    subprocess.run(["git", "-C", str(folder), "diff", "HEAD"], capture_output=True, check=False)
    assert (folder / "ran").exists()  # or the test would show nothing


def test_a_package_s_files_are_found_without_an_import(tmp_path, monkeypatch):
    inner = tmp_path / "evil_package" / "inner"
    inner.mkdir(parents=True)
    for folder in (inner.parent, inner):
        (folder / "__init__.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    (inner / "rows.csv").write_text("text,label\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert input_path("package://evil_package.inner/rows.csv") == inner / "rows.csv"
    with pytest.raises(FinesweepError, match="isn't installed"):
        input_path("package://evil_package.none/rows.csv")
    assert not (tmp_path / "ran").exists()
