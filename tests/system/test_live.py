"""What is left on a terminal of a bar, and of the lines that were logged while it was there."""

import logging
import re
import sys
from contextlib import contextmanager

from finesweep.system.console import logging_to_console, make_console
from finesweep.training.monitors import Progress

logger = logging.getLogger("finesweep.training")


def screen(text: str) -> list[str]:
    """Return the lines that a terminal shows after a text: cursor up, erase line, carriage return."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[0-9;?]*[a-zA-Z]|\r|\n|[^\x1b\r\n]+", text):
        if part == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif part == "\r":
            column = 0
        elif part.startswith("\x1b"):
            count = int(re.sub(r"\D", "", part) or 1)
            row -= count if part.endswith("A") else 0
            lines[row] = "" if part.endswith("K") else lines[row]
        else:
            lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + len(part) :]
            column += len(part)
    return [line.rstrip() for line in lines if line.strip()]


@contextmanager
def library():
    """Yield the logger of a library that made its handler before anything was drawn."""
    logger, handler = logging.getLogger("some_library"), logging.StreamHandler(sys.stderr)
    logger.addHandler(handler)
    try:
        yield logger
    finally:
        logger.removeHandler(handler)


def test_no_line_leaves_a_copy_of_the_bar_behind(monkeypatch, capfd):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stderr", sys.stdout)  # both are the one terminal
    command = f"To send it later: wandb sync {'/a/long/folder' * 8}"
    with library() as other, logging_to_console():
        progress = Progress(make_console(whole_lines=True))
        progress.objective = "loss"
        progress.on_begin(30)
        for step in range(1, 4):
            progress.on_log(step, {"train/loss": 1.0})
            progress.on_evaluate(step, {"validation/loss": 1.0})
            other.warning("a library's line %d", step)
        logger.info(command)
        progress.close()
        logger.info("afterwards")
        other.warning("and its own again")
    lines = screen(re.sub(r"\x1b\[[0-9;]*m", "", capfd.readouterr().out))
    expected = []
    for step in range(1, 4):
        expected += [f"step {step} of 30: validation loss 1.0000, loss 1.0000", f"a library's line {step}"]
    assert lines == [*expected, command, "afterwards", "and its own again"]
