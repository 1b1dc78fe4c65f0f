"""A user's mistake as a message and an exit code; other errors show their traceback."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from finesweep.errors import ConfigError, Fault, FinesweepError, Interrupted, TrainingError
from finesweep.system import distributed
from finesweep.system.console import show_error
from finesweep.system.encoded import beyond_ascii
from finesweep.system.files import disk_full_error
from finesweep.system.paths import deepest
from finesweep.system.terminal import typed_text

NO_HOME_FIX = "Write the path out, or say where the home is: export HOME=FOLDER"


@contextmanager
def reported_errors() -> Iterator[None]:
    """Print a user's mistake as a message and exit with its code; let other errors show their traceback."""
    try:
        yield
    except FinesweepError as error:
        distributed.let_main_speak()
        show_error(error)
        sys.exit(error.exit_code)
    except UnicodeEncodeError as error:
        if sys.getfilesystemencoding() == "utf-8":
            raise
        around = typed_text(error.object[max(0, error.start - 40) : error.end + 40])
        show_error(ConfigError(beyond_ascii(around)))
        sys.exit(ConfigError.exit_code)
    except RuntimeError as error:
        if not distributed.is_main() and distributed.is_lost_peer(error):
            sys.exit(1)  # what went wrong is the other's to say
        if "determine home directory" not in str(error):
            raise
        rule = "Of `~` in a path nobody knows what it stands for: there is no such user, or no HOME."
        show_error(ConfigError(Fault("HOME", rule, os.environ.get("HOME", ""), fix=NO_HOME_FIX)))
        sys.exit(ConfigError.exit_code)
    except MemoryError:
        rule = "There is not enough memory for this."
        show_error(TrainingError(Fault("memory", rule, fix="Free some, or take a smaller batch or model.")))
        sys.exit(1)
    except OSError as error:
        known = _of_the_system(error)
        if known is None:
            raise
        show_error(known)
        sys.exit(known.exit_code)
    except Interrupted as interruption:
        sys.exit(128 + interruption.signal_number)
    except KeyboardInterrupt:
        sys.exit(130)


@contextmanager
def refusals_in_words() -> Iterator[None]:
    """Turn what the system refuses, a place or space on a disk, into a message, as the command line does.

    Raises:
        FinesweepError: it refused.
    """
    try:
        yield
    except OSError as error:
        known = _of_the_system(error)
        if known is None:
            raise
        raise known from error


def _of_the_system(error: OSError) -> FinesweepError | None:
    return disk_full_error(error, Path.cwd()) or _not_allowed(error)


def _not_allowed(error: OSError) -> TrainingError | None:
    if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
        return None
    if not error.filename:  # Arrow's are without
        return TrainingError(
            Fault("file", f"It can't be read or written: {error}", fix="Change its permissions.")
        )
    file = Path(os.fsdecode(error.filename)).absolute()
    found = deepest(file)
    rule = f"It can't be read or written: {error.strerror}."
    fix = "Change its permissions, or name another place: output_dir=FOLDER, or a copy of this folder."
    return TrainingError(Fault(str(found), rule, fix=fix))
