"""Loaded by Python at start-up in a sweep's processes (as `sitecustomize`): kill -9 at one step of its end.

FAULT=<one of STEPS>, FAULT_LAST=<the number of its last trial>; FAULT_DIR gets the marker.
"""

import importlib
import os
import signal
import sys
from pathlib import Path

# step -> where its function is, its name, and whether the kill comes before or after it
STEPS = {
    "the last trial is told": ("finesweep.sweeps.study", "Study.tell", "after"),
    "the winner has predicted": ("finesweep.runs.evaluation", "Evaluator.finish", "after"),
    "the winner's result is written": ("finesweep.runs.fitting", "seal", "before"),
    "best.yaml is written": ("finesweep.sweeps.summary", "write_leaderboard", "before"),
    "half of the report is written": ("finesweep.commands.report.markdown", "render", "before"),
    "all but the status is written": ("finesweep.sweeps.summary", "_show", "after"),
    "the runs are compared": ("finesweep.commands.confirm.command", "write_json", "before"),
}


def die() -> None:
    """End this process and, if it works for a sweep's, that one too: as when the power fails."""
    if "finesweep.sweeps.winner" in sys.orig_argv:
        os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def is_now(step: str, arguments: tuple) -> bool:
    """Whether this call of a step's function is the one: of the last trial, of the test split."""
    if step == "the last trial is told":
        return arguments[1].number == int(os.environ["FAULT_LAST"])
    return step != "the winner has predicted" or "test" in arguments


def sabotage(step: str, marker: Path) -> None:
    """Wrap a step's function."""
    module, name, when = STEPS[step]
    *classes, function = name.split(".")
    owner = importlib.import_module(module)
    for inner in classes:
        owner = getattr(owner, inner)
    original = getattr(owner, function)

    def wrapped(*arguments, **keywords):
        if when == "after":
            result = original(*arguments, **keywords)
        if is_now(step, arguments) and not marker.exists():
            marker.touch()
            die()
        return result if when == "after" else original(*arguments, **keywords)

    setattr(owner, function, wrapped)


if "FAULT" in os.environ:
    sabotage(os.environ["FAULT"], Path(os.environ["FAULT_DIR"], f"struck when {os.environ['FAULT']}"))
