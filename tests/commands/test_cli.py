"""The `finesweep` command itself: its version, its help, its groups."""

import re

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from finesweep.commands.cli import app
from finesweep.system.version import __version__


def said(*words):
    done = CliRunner().invoke(app, list(words), env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert done.exit_code == 0
    return done.stdout


def test_the_version_is_shown():
    assert said("--version") == f"finesweep {__version__}\n"


@pytest.mark.parametrize("words", [(), ("ls",), ("predict",)])
def test_h_is_help(words):
    assert said(*words, "-h") == said(*words, "--help")


def test_every_verb_stands_in_a_group():
    shown = said("--help")
    groups = re.findall(r"─ ([\w ]+?) ─", shown)
    assert groups == ["Options", "Train and search", "Use and share", "Judge and compare", "Find and tidy up"]
    assert len(re.findall(r"^│ [a-z]+ ", shown, re.MULTILINE)) == len(get_command(app).commands)
