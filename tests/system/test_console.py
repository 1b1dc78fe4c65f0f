"""What a person sees while waiting."""

import pytest
from typer.testing import CliRunner

from finesweep.commands.cli import app
from finesweep.config.command_line import own_options
from finesweep.system import console


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
    assert "tokenising" not in shown(capsys, patience_s=0)


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
