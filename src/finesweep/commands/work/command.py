"""Join a sweep as one of its workers."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from finesweep.commands.resume import continue_sweep
from finesweep.commands.train import launch
from finesweep.errors import Fault, FinesweepError, Interrupted, TrialsLeft
from finesweep.runs.layout import NO_FOLDER
from finesweep.sweeps import manifest
from finesweep.system.signals import WARNINGS, interruptible


def work(
    path: Path,
    *,
    seconds: float | None = None,
    trials: int | None = None,
    overrides: Sequence[str] = (),
    trusted: Collection[str] = (),
) -> None:
    """Take trials of a sweep until none is left; the last worker writes the sweep's results.

    Args:
        path: the sweep's folder.
        seconds: after which this worker saves its trials, gives them back and ends.
        trials: how many it takes.
        overrides: more words of the command line, such as secrets that were masked when it was saved.
        trusted: targets, beyond finesweep's own, that what was saved may call.

    Raises:
        FinesweepError: no sweep, or its trials would be others here.
        TrialsLeft: this worker ends before the sweep does.
    """
    if address := re.match(r"([\w+]+):/", str(path)):  # of which a Path has lost a slash
        rule = (
            "A worker needs the sweep's folder, where checkpoints and the best adapter lie, not its database."
        )
        fix = (
            "finesweep work FOLDER, on a file system that all machines share; sweep.yaml names the database."
        )
        raise FinesweepError(Fault(f"{address[1]}://...", rule, fix=fix))
    folder = path.expanduser().absolute()
    content = manifest.read(folder)
    if content is None:
        rule = "A sweep's folder holds a sweep.yaml; this one doesn't." if folder.is_dir() else NO_FOLDER
        fix = "Open the sweep first: python train.py -m name=my-study hydra.sweeper.detach=true"
        raise FinesweepError(Fault(str(path), rule, fix=fix))
    words = ["hydra.sweeper.join=true"]
    words += [] if seconds is None else [f"hydra.sweeper.worker_timeout={seconds:g}"]
    words += [] if trials is None else [f"hydra.sweeper.worker_trials={trials}"]
    try:
        with interruptible(WARNINGS):  # a batch system may warn while the config is being composed
            continue_sweep(folder, content, [*overrides, *words], trusted, launch)
    except Interrupted:
        raise TrialsLeft from None
