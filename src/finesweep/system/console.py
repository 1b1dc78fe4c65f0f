"""What a person sees: stage lines, errors, the last panel; and quiet libraries."""

from __future__ import annotations

import io
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from contextvars import ContextVar
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep.errors import FinesweepError
from finesweep.system import distributed
from finesweep.system.live import PresentStdout
from finesweep.system.redaction import RedactingFormatter
from finesweep.system.terminal import visible

if TYPE_CHECKING:
    from rich.console import Console

# The run whose log lines these are; threads have none, and tell all that go on.
_run: ContextVar[object] = ContextVar("run", default=None)
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
EARLY_RECORDS = 1000
PATIENCE_S = 2.0  # a wait that is longer gets a bar
VERBOSE = "FINESWEEP_VERBOSE"  # in the environment, so that a sweep's workers know it too
logger = logging.getLogger("finesweep")


def be_verbose() -> None:
    """Show what the libraries underneath say, and finesweep's own debug lines."""
    os.environ[VERBOSE] = "1"


def is_verbose() -> bool:
    """Whether the user asked for it with -v."""
    return os.environ.get(VERBOSE, "") not in ("", "0")


def make_console(*, stderr: bool = False, whole_lines: bool = False) -> Console:
    """Return a console that is plain, and never wraps, where there is no terminal.

    Control characters in what it prints are shown, not obeyed: names and values may be a stranger's.

    Args:
        stderr: write there.
        whole_lines: never wrap on a terminal either, so that a command in a log line can be copied.
    """
    from rich.console import Console

    class Visible(Console):
        def render(self, renderable: Any, options: Any = None) -> Iterator[Any]:
            for part in super().render(renderable, options):
                yield part if part.control else part._replace(text=visible(part.text))

    stream = sys.stderr if stderr else sys.stdout
    return Visible(stderr=stderr, highlight=False, soft_wrap=whole_lines or not stream.isatty())


@contextmanager
def logging_to_console(*, quiet: bool = False) -> Iterator[MemoryHandler]:
    """Show finesweep's log lines, and keep them for a run folder that doesn't exist yet.

    Args:
        quiet: show warnings alone.

    Yields:
        the handler that keeps the records; `log_to_file` gives them a file.
    """
    mine = object()
    token = _run.set(mine)
    shown = PresentStdout()
    shown.setFormatter(RedactingFormatter("%(message)s"))
    kept = MemoryHandler(EARLY_RECORDS, flushLevel=logging.CRITICAL + 1)
    level, propagate = logger.level, logger.propagate
    loud = logging.DEBUG if is_verbose() else logging.INFO
    shown.setLevel(logging.WARNING if quiet else loud)
    if not distributed.is_main():
        shown.setLevel(logging.ERROR)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    for handler in (shown, kept):
        handler.addFilter(_is_of(mine))
        logger.addHandler(handler)
    try:
        yield kept
    finally:
        _run.reset(token)
        logger.removeHandler(shown)
        logger.removeHandler(kept)
        logger.setLevel(level)
        logger.propagate = propagate


@contextmanager
def logging_to_file(path: Path, kept: MemoryHandler | None = None) -> Iterator[None]:
    """Write log lines to a file too, with those that `kept` has from before."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(RedactingFormatter(LOG_FORMAT))
    handler.addFilter(_is_of(_run.get()))
    if kept:
        logger.removeHandler(kept)
        kept.setTarget(handler)
        kept.flush()
        kept.setTarget(None)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


def _is_of(run: object) -> Callable[[logging.LogRecord], bool]:
    """Return a filter for the lines of one of the runs that go on in this process."""
    return lambda _record: _run.get() in (None, run)


def quiet_bars() -> None:
    """Silence tqdm's advice, in a notebook without ipywidgets, to those who want its bars.

    It comes with tqdm's first import, by whatever library.
    """
    warnings.filterwarnings("ignore", "IProgress not found")


def quiet_libraries() -> None:
    """Silence progress bars and reports of the libraries underneath, unless -v; errors still come through."""
    if is_verbose():
        return
    quiet_bars()
    import datasets
    import transformers

    if os.environ.get("WANDB_MODE") == "offline":  # which transformers prints, whatever the tracker is
        with redirect_stdout(io.StringIO()):
            import transformers.integrations.integration_utils

    datasets.disable_progress_bars()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    # peft 0.21 reads a property that transformers 5.23 renamed; nothing a user could change
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
    # torch's advice to those who make sparse tensors, as peft does for SHiRA
    warnings.filterwarnings("ignore", "Sparse invariant checks are implicitly disabled", UserWarning)


@contextmanager
def counting(
    what: str, total: int | None, *, patience_s: float = PATIENCE_S
) -> Iterator[Callable[[int], None]]:
    """Show a bar, on a terminal, when a block takes longer than a person waits without a sign.

    Args:
        what: the bar's label.
        total: what the block counts up to; None where that isn't known.
        patience_s: how long that is.

    Yields:
        what the block calls with each count that it has done.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    # On stderr: a command's results may be on stdout.
    console, start, done = make_console(stderr=True, whole_lines=True), time.monotonic(), 0
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = bar.add_task(what, total=total)

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if time.monotonic() - start > patience_s:
            bar.start()
            bar.update(task, completed=done)

    try:
        yield advance
    finally:
        if bar.live.is_started:
            bar.stop()


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show on a terminal that something goes on whose steps nobody can count, such as loading a model.

    Args:
        what: the line's text.
    """
    console = make_console(stderr=True, whole_lines=True)
    with console.status(what) if console.is_terminal else nullcontext():
        yield


def show_error(error: FinesweepError) -> None:
    """Print every fault of an error, on stderr."""
    console = make_console(stderr=True)
    count = len(error.faults)
    head = "One thing to mend:" if count == 1 else f"{count} things to mend:"
    console.print(f"[bold red]finesweep[/]: {head}")
    for fault in error.faults:
        first, *rest = str(fault).splitlines()
        console.print()
        console.print(first, style="bold", markup=False, soft_wrap=True)
        num_rules = len(rest) - len(fault.fix.splitlines())
        for line in rest[:num_rules]:
            _print_wrapped(console, line)
        for line in rest[num_rules:]:  # it may be a command, to be copied
            console.print(line, markup=False, soft_wrap=True)


def _print_wrapped(console: Console, line: str) -> None:
    """Print a line; what a terminal has no room for stands below it, indented as it is."""
    from rich.padding import Padding
    from rich.text import Text

    if not console.is_terminal:
        console.print(line, markup=False)
        return
    text = line.lstrip()
    console.print(Padding(Text(text), (0, 0, 0, len(line) - len(text)), expand=False), soft_wrap=False)


def show_summary(title: str, rows: Mapping[str, str], commands: Mapping[str, str]) -> None:
    """Print a run's outcome: a panel on a terminal, plain lines elsewhere; below it what to do next.

    Args:
        title: the panel's title.
        rows: name and value of each line.
        commands: what one may want to do next: purpose and command.
    """
    from finesweep.system.tables import GAP, aligned, one_cell  # rich, which a worker or a rank never needs

    console = make_console()
    shown, steps = aligned([*rows.items()]), aligned([*commands.items()])
    for line in [title, *shown, "", *steps]:
        logger.debug(line)
    if not console.is_terminal:
        console.print("\n".join(["", title, *shown, "", *steps]), markup=False)
        return
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    inside = Table.grid(padding=(0, GAP, 0, 0))
    inside.add_column(no_wrap=True)
    inside.add_column(overflow="fold")
    for name, text in rows.items():
        inside.add_row(Text(one_cell(name)), Text(one_cell(text)))
    console.print(Panel(inside, title=title, title_align="left", expand=False))
    for line in steps:  # outside, and on one line each, to be copied
        console.print(line, markup=False, soft_wrap=True)


def size_text(size: int) -> str:
    """Return bytes in the largest unit that gives a number above 1: "1.3 MiB"."""
    units = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))
    unit, length = next((pair for pair in units if size >= pair[1]), units[-1])
    return f"{size / length:.1f} {unit}"


def three_digits(value: object) -> str:
    """Return a value as a person reads it, floats to three digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def describe_counts(counts: Mapping[str, int]) -> str:
    """Return "6 x (query, value)": names grouped by how often each occurs."""
    by_count: dict[int, list[str]] = {}
    for name, count in counts.items():
        by_count.setdefault(count, []).append(name)
    return "; ".join(f"{count} x ({', '.join(names)})" for count, names in by_count.items())
