"""status.json, true however a run ends."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

from finesweep.errors import DiskFull, Fault, FinesweepError, Interrupted, RunTakenOver, TrainingError
from finesweep.runs.layout import RunFolder
from finesweep.system import distributed
from finesweep.system.files import disk_full_error
from finesweep.system.paths import relative_to_here, typed
from finesweep.system.programs import finesweep_words
from finesweep.system.redaction.words import masked_command
from finesweep.system.signals import ignore_termination
from finesweep.system.sweep_folder import SweepFolder
from finesweep.training.checkpoints import all_checkpoints, step_of

logger = logging.getLogger(__name__)


@contextmanager
def recorded_status(folder: RunFolder) -> Iterator[None]:
    """Keep status.json true however the block ends; `complete` and `pruned` are written by the block."""
    folder.write_status("running")
    try:
        yield
    except Interrupted as interruption:
        folder.write_status("interrupted", signal.Signals(interruption.signal_number).name)
        logger.info("%s", _interrupted(folder))
        raise
    except RunTakenOver:
        raise
    except BaseException as error:
        known = disk_full_error(error, folder.path) or _lost_peer_error(error, folder)
        reason = str(known or error) if isinstance(known or error, FinesweepError) else repr(error)
        with _unless_full(known):
            folder.write_status("failed", reason)
        if known:
            raise known from error
        if not isinstance(error, FinesweepError):
            logger.debug("The run failed.", exc_info=True)
        raise


def _interrupted(folder: RunFolder) -> str:
    """Say what is saved and how to go on; a trial's sweep sees to its own."""
    path = str(relative_to_here(folder.path))
    said = f"Interrupted; the run folder is {path}"
    if SweepFolder.around(folder.path).is_there:
        return said
    saved = max(map(step_of, all_checkpoints(folder.checkpoints)), default=0)
    what = f"Step {saved} is saved." if saved else "No step was saved yet."
    return f"{said}. {what} Go on: {masked_command([*finesweep_words(), 'resume', path])}"


def _unless_full(known: FinesweepError | None) -> AbstractContextManager[None]:
    """Let a status go unwritten on a full disk: what is wrong with the disk is what has to be said."""
    return suppress(OSError) if isinstance(known, DiskFull) else nullcontext()


def _lost_peer_error(error: BaseException, folder: RunFolder) -> TrainingError | None:
    if not distributed.is_lost_peer(error):
        return None
    ignore_termination()
    rule = "Another process of this run is gone; its own message, if it had one, is above."
    launch = f"accelerate launch --num_processes {distributed.world_size()}"
    fix = f"Go on from the last checkpoint: {launch} -m finesweep resume {typed(folder.path)}"
    return TrainingError(Fault("accelerate", rule, fix=fix))
