"""A folder for what can be computed again, and another where that one can't be written."""

from __future__ import annotations

import atexit
import functools
import logging
import os
import shutil
import tempfile
from pathlib import Path

from finesweep.system.files import NO_SPACE

logger = logging.getLogger(__name__)


def writable(folder: Path) -> Path:
    """Return a folder, made if need be; a temporary one where this one can't be written.

    Raises:
        OSError: the disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in NO_SPACE:
            raise
    return folder if os.access(folder, os.W_OK) else _stand_in(folder)


@functools.cache
def _stand_in(folder: Path) -> Path:
    place = Path(tempfile.mkdtemp(prefix="finesweep-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    what = "cache      %s can't be written; what belongs there is kept in %s until this process ends."
    logger.warning(f"{what} FINESWEEP_CACHE=... names another place.", folder, place)
    return place
