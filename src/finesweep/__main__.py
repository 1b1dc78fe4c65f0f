"""`python -m finesweep`: the same as `finesweep`."""

from finesweep.cli import app

app(prog_name="finesweep")
