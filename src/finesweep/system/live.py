"""A bar or a table that stays at the bottom of a terminal, under every line that anyone prints or logs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.live import Live
    from rich.progress import Progress


class PresentStdout(logging.StreamHandler):
    """Write log lines to what standard output is now, and not to what it was when the handler was made."""

    @property
    def stream(self) -> Any:
        """Standard output."""
        return sys.stdout

    @stream.setter
    def stream(self, _stream: Any) -> None: ...  # the base class would keep it


@contextmanager
def lines_above(live: Live | Progress) -> Iterator[None]:
    """Show what is live within the block, and lines above it.

    Rich sees to what is printed while it draws. The handlers that libraries made for their log lines hold the
    terminal's own stream, past rich, and each line would leave a copy of the bar behind.
    """
    own = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    with live:
        handlers = [handler for handler in _handlers() if any(handler.stream is stream for stream in own)]
        before = [(handler, handler.setStream(sys.stderr)) for handler in handlers]
        try:
            yield
        finally:
            for handler, stream in before:
                handler.setStream(stream)


def _handlers() -> Iterator[logging.StreamHandler]:
    """Return every handler of a logger that writes to a stream which can be changed."""
    known = logging.Logger.manager.loggerDict.values()
    loggers = [logging.getLogger(), *(one for one in known if isinstance(one, logging.Logger))]
    for handler in dict.fromkeys(handler for one in loggers for handler in one.handlers):
        if isinstance(handler, logging.StreamHandler) and not isinstance(
            handler, logging.FileHandler | PresentStdout
        ):
            yield handler
