"""`python -m finesweep`: the same as `finesweep`."""

from finesweep.commands.cli import app

app(prog_name="finesweep")
