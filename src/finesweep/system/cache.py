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
from finesweep.system.places import cache_folder

logger = logging.getLogger(__name__)


def writable(name: str) -> Path:
    """Return a folder of the cache, made if need be; a temporary one where that one can't be written.

    Args:
        name: the folder's.

    Raises:
        OSError: the disk is full.
    """
    folder = cache_folder() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in NO_SPACE:
            raise
    if os.access(folder, os.W_OK | os.X_OK):
        return folder
    place = _stand_in(folder.parent) / name
    place.mkdir(exist_ok=True)
    return place


@functools.cache
def _stand_in(folder: Path) -> Path:
    place = Path(tempfile.mkdtemp(prefix="finesweep-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    what = "cache      %s can't be written; what belongs there is kept in %s until this process ends."
    logger.warning(f"{what} FINESWEEP_CACHE=... names another place.", folder, place)
    return place
