"""Run the real commands in real processes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from commands import FINESWEEP, REPOSITORY
from finesweep.commands.cli import app
from finesweep.commands.train import train


@pytest.fixture
def call(tmp_path):
    """Return a function that runs a command in a temporary working folder and returns what became of it."""

    def run(*words: str, environment: dict[str, str] | None = None, timeout: float = 300):
        program = {"train.py": [sys.executable, str(REPOSITORY / "train.py")], "finesweep": [FINESWEEP]}
        command = [*program[words[0]], *words[1:]]
        variables = {**os.environ, **(environment or {})}
        return subprocess.run(
            command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=timeout
        )

    return run


@pytest.fixture
def call_here(tmp_path, monkeypatch, capsys):
    """Return a function that does the same in this process, for what needs none of its own."""

    def run(*words: str, environment: dict[str, str] | None = None):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [words[0]])
        for name, value in (environment or {}).items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        code = 0
        try:
            {"train.py": train, "finesweep": app}[words[0]]([*words[1:]])
        except SystemExit as ended:
            code = ended.code or 0
        said = capsys.readouterr()
        return subprocess.CompletedProcess(words, code, said.out, said.err)

    return run


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a command and returns its process."""
    processes = []

    def popen(*words: str, environment: dict[str, str] | None = None):
        command = [sys.executable, str(REPOSITORY / "train.py"), *words]
        variables = {**os.environ, **(environment or {})}
        with (tmp_path / "output.txt").open("w") as log:
            processes.append(
                subprocess.Popen(command, cwd=tmp_path, env=variables, stdout=log, stderr=subprocess.STDOUT)
            )
        return processes[-1]

    yield popen
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def words(tiny_overrides):
    """Return the overrides of a tiny sweep named `study`."""
    kept = [word for word in tiny_overrides if not word.startswith(("output_dir", "name=", "threads="))]
    return [*kept, "name=study"]


@pytest.fixture
def sweep_here(tmp_path, monkeypatch):
    """Return a function that runs `python train.py WORDS -m` in this process, trials included."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> None:
        train([*words, "hydra.sweeper.n_jobs=0", "-m"])

    return run
