"""What a person sees while waiting."""

import os
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from finesweep.commands.cli import app
from finesweep.config.command_line import own_options
from finesweep.errors import Fault, FinesweepError
from finesweep.sweeps.joining import _say
from finesweep.system import console
from finesweep.system.tables import aligned


@pytest.fixture
def terminal(monkeypatch):
    """Have rich take what it writes to for a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")


def shown(capsys, *, patience_s: float) -> str:
    with console.counting("tokenising", 10, patience_s=patience_s) as advance:
        advance(4)
        advance(6)
    return capsys.readouterr().err


@pytest.mark.usefixtures("terminal")
def test_a_long_wait_gets_a_bar(capsys):
    assert "10/10" in shown(capsys, patience_s=0)


@pytest.mark.usefixtures("terminal")
def test_a_short_wait_gets_none(capsys):
    assert "tokenising" not in shown(capsys, patience_s=60)


def test_a_log_file_gets_none(capsys):
    assert shown(capsys, patience_s=0) == ""


FOLDER = "/a/long/folder" * 6


@pytest.fixture
def narrow(terminal, monkeypatch):
    """Have a terminal of 60 columns."""
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")


def lines_of(text: str) -> list[str]:
    """Return a terminal's lines without their styles."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()


@pytest.mark.usefixtures("narrow")
def test_a_mistake_s_rule_is_wrapped_and_its_command_stays_whole(capsys):
    rule = "It is a rule of so many words that no terminal of sixty columns has room for all of them."
    command = f"chmod u+rx {FOLDER}"
    console.show_error(FinesweepError(Fault(FOLDER, rule, fix=command)))
    lines = lines_of(capsys.readouterr().err)
    assert FOLDER in lines
    assert f"  {command}" in lines
    wrapped = [line.rstrip() for line in lines[lines.index(FOLDER) + 1 : -1]]
    assert len(wrapped) == 2
    assert all(line.startswith("  ") and len(line) <= 60 for line in wrapped)
    assert " ".join(line.strip() for line in wrapped) == rule


@pytest.mark.usefixtures("narrow")
def test_what_a_panel_has_no_room_for_stands_below_its_own_column(capsys):
    console.show_summary("run", {"test": "accuracy 0.9, " * 6, "time": "3 s"}, {"go on": f"cat {FOLDER}"})
    lines = lines_of(capsys.readouterr().out)
    assert lines[1].startswith("│ test  accuracy")
    assert lines[2].startswith("│       0.9, accuracy")
    assert f"go on  cat {FOLDER}" in lines


@pytest.mark.usefixtures("narrow")
def test_how_a_sweep_goes_on_stays_whole(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    _say(f"Continue: finesweep resume {FOLDER}")
    assert f"Continue: finesweep resume {FOLDER}" in lines_of(capsys.readouterr().out)


def test_a_notebook_gets_no_empty_outputs(monkeypatch, capsys):
    given = []
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("rich.jupyter.display", lambda *parts: given.append(parts))
    assert aligned([["a", "b"]]) == ["a  b"]
    assert shown(capsys, patience_s=0) == ""
    assert given == []


def test_nobody_hears_of_a_tracker_that_was_not_asked_for():
    code = (
        "from finesweep.system.console import quiet_libraries as quiet; quiet(); import transformers.trainer"
    )
    environment = {**os.environ, "WANDB_MODE": "offline", console.VERBOSE: ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("command", ["train.py", "finesweep"])
def test_v_lets_the_libraries_speak(command, monkeypatch):
    from transformers.utils import logging

    monkeypatch.setenv(console.VERBOSE, "")
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    try:
        console.quiet_libraries()
        assert not logging.is_progress_bar_enabled()
        logging.enable_progress_bar()
        if command == "train.py":
            assert own_options(["-v", "peft.r=4"])[0] == ["peft.r=4"]
        else:
            assert CliRunner().invoke(app, ["-v", "ls", "."]).exit_code == 0
        console.quiet_libraries()
        assert logging.is_progress_bar_enabled()
    finally:
        logging.set_verbosity(level)
        (logging.enable_progress_bar if bars else logging.disable_progress_bar)()
