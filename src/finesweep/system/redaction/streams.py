"""Secrets in what a process prints: a worker's log, and the traceback of an error that nobody caught."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import IO, Any

from finesweep.system.redaction.texts import redact


class RedactingStream:
    """A text stream that masks secrets in what is written to it.

    Args:
        stream: where it goes.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Mask, then write."""
        self._stream.write(redact(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Mask, then write."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class RedactingHook:
    """What Python calls with an error that ends the process, its message masked.

    Args:
        shown: the hook that prints it.
    """

    def __init__(self, shown: Callable[..., Any]) -> None:
        self._shown = shown

    def __call__(
        self, kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        """Print the error without secrets."""
        stream, sys.stderr = sys.stderr, RedactingStream(sys.stderr)  # type: ignore[assignment]
        try:
            self._shown(kind, error, traceback)
        finally:
            sys.stderr = stream


def redact_tracebacks() -> None:
    """Mask secrets in the traceback that ends this process."""
    if not isinstance(sys.excepthook, RedactingHook):
        sys.excepthook = RedactingHook(sys.excepthook)


@contextmanager
def redacted_output() -> Iterator[None]:
    """Mask secrets in everything that is printed in the block."""
    before = sys.stdout, sys.stderr
    if all(isinstance(stream, RedactingStream) for stream in before):
        yield
        return
    sys.stdout, sys.stderr = map(RedactingStream, before)  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
