"""A user's mistake as a message and an exit code; other errors show their traceback."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from finesweep.errors import Fault, FinesweepError, Interrupted, TrainingError
from finesweep.system import distributed
from finesweep.system.console import show_error
from finesweep.system.files import disk_full_error


@contextmanager
def reported_errors() -> Iterator[None]:
    """Print a user's mistake as a message and exit with its code; let other errors show their traceback."""
    try:
        yield
    except FinesweepError as error:
        distributed.let_main_speak()
        show_error(error)
        sys.exit(error.exit_code)
    except RuntimeError as error:
        if not distributed.is_main() and distributed.is_lost_peer(error):
            sys.exit(1)  # what went wrong is the other's to say
        raise
    except MemoryError:
        rule = "There is not enough memory for this."
        show_error(TrainingError(Fault("memory", rule, fix="Free some, or take a smaller batch or model.")))
        sys.exit(1)
    except OSError as error:
        full = disk_full_error(error, Path.cwd()) or _not_allowed(error)
        if full is None:
            raise
        show_error(full)
        sys.exit(full.exit_code)
    except Interrupted as interruption:
        sys.exit(128 + interruption.signal_number)
    except KeyboardInterrupt:
        sys.exit(130)


def _not_allowed(error: OSError) -> TrainingError | None:
    if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
        return None
    if not error.filename:  # Arrow's are without
        return TrainingError(
            Fault("file", f"It can't be read or written: {error}", fix="Change its permissions.")
        )
    file = Path(os.fsdecode(error.filename)).absolute()
    found = next(path for path in (file, *file.parents) if path.exists())
    rule = f"It can't be read or written: {error.strerror}."
    fix = "Change its permissions, or name another place: output_dir=FOLDER, or a copy of this folder."
    return TrainingError(Fault(str(found), rule, fix=fix))
