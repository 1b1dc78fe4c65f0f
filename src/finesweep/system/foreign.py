"""Code that is the user's own: what it raises, as a message with their frames alone."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from finesweep.errors import Fault, FinesweepError, ForeignError

OWN = str(Path(__file__).parents[1])
LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})


@contextmanager
def calling(key: str, what: object) -> Iterator[None]:
    """Turn an error of the user's code in the block into a message.

    Args:
        key: where the config names it.
        what: its name there.

    Raises:
        ForeignError: with the frames of their files. An error that no file of theirs has to do with travels.
    """
    try:
        yield
    except FinesweepError:
        raise
    except Exception as error:
        frames = own_frames(error)
        if not frames:
            raise
        rule = f"It raised {type(error).__name__}: {error}"
        raise ForeignError(Fault(key, rule, what, fix="\n  ".join(frames))) from error


def own_frames(error: BaseException) -> list[str]:
    """Return a traceback's lines, those of finesweep, of Python and of installed packages left out."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not frame.filename.startswith((OWN, *LIBRARIES, "<"))]
    return [line.rstrip() for text in traceback.format_list(theirs) for line in text.rstrip().splitlines()]
