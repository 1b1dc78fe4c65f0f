"""`finesweep data`: from a command line to a report on a terminal, as JSON, or as a page."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep.commands.data.page import render
from finesweep.commands.data.report import make_report
from finesweep.commands.data.text import lines_of
from finesweep.commands.reporting import reported_errors
from finesweep.config.build import build
from finesweep.config.compose import compose
from finesweep.errors import UNSET, Fault, FinesweepError
from finesweep.runs.objective import with_objective
from finesweep.system.console import make_console, quiet_libraries
from finesweep.system.programs import train_words
from finesweep.system.redaction import shown
from finesweep.system.redaction.words import masked_command

if TYPE_CHECKING:
    from finesweep.commands.data.report import Report


def look(arguments: Sequence[str], *, as_json: bool = False, page: Path | None = None) -> None:
    """Show what a run with these overrides would learn from; exit as training does where it would refuse.

    Args:
        arguments: the words after `python train.py`.
        as_json: print JSON on stdout and nothing else there; a refusal too.
        page: the HTML file to write.
    """
    with reported_errors():
        try:
            if page:
                check_page(page)
            with redirect_stdout(sys.stderr if as_json else sys.stdout):  # a user's own source may print
                report = inspect_data(arguments)
            if page:
                write_page(report, page)
        except FinesweepError as error:
            if as_json:
                print(json.dumps(refusal(error), indent=1))
            raise
        if as_json:
            print(json.dumps(report.to_json(), indent=1))
        else:
            _show(report, page)


def inspect_data(arguments: Sequence[str]) -> Report:
    """Compose, check, read and encode as a run does before it loads its model, and describe what came of it.

    Raises:
        ConfigError: the config can't be run.
        FinesweepError: the data can't be used.
    """
    with compose(arguments).checked() as config:
        quiet_libraries()
        data, encoder = build(config["data"]), build(config["tokenizer"])
    encoded = encoder.encode(data.splits)
    config, data = with_objective(config, data)
    command = masked_command([*train_words(), *arguments])
    return make_report(data, encoder, encoded, objective=config["objective"]["metric"], command=command)


def refusal(error: FinesweepError) -> dict[str, Any]:
    """Return why a run would not start, as plain values."""
    return {"starts": False, "faults": [_said(fault) for fault in error.faults]}


def check_page(page: Path) -> None:
    """Refuse a page that can't be written, before any work is done.

    Raises:
        FinesweepError: its folder doesn't exist, or it is a folder itself.
    """
    if page.is_dir():
        raise FinesweepError(Fault("--page", "It is a folder.", str(page), fix=f"Try {page / 'data.html'}."))
    if not page.parent.is_dir():
        fix = f"mkdir -p {shlex.quote(str(page.parent))}"
        raise FinesweepError(Fault("--page", "There is no such folder.", str(page), fix=fix))


def write_page(report: Report, page: Path) -> None:
    """Write the report as one HTML file.

    Raises:
        FinesweepError: the file can't be written.
    """
    content = render(report).encode("utf-8", "xmlcharrefreplace")
    try:
        page.write_bytes(content)
    except PermissionError as error:
        raise FinesweepError(Fault("--page", f"{error.strerror}.", str(page))) from None


def _said(fault: Fault) -> dict[str, Any]:
    """Return what a fault says, and leave out what it doesn't."""
    said = {
        "where": fault.where,
        "rule": fault.rule,
        "source": fault.source,
        "valid": fault.valid,
        "fix": fault.fix,
    }
    value = {} if fault.value is UNSET else {"value": str(shown(fault.where, fault.value))}
    return {name: part for name, part in said.items() if part} | value


def _show(report: Report, page: Path | None) -> None:
    console = make_console()
    for line in lines_of(report, console.width if console.is_terminal else None):
        console.print(line, markup=False)
    if page:
        console.print(f"The page is {page}", markup=False)
