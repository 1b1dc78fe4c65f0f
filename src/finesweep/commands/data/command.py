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
from finesweep.data.labels import TOKENS
from finesweep.errors import UNSET, ConfigError, Fault, FinesweepError
from finesweep.runs.objective import with_objective
from finesweep.runs.preparation import prepare
from finesweep.runs.probing import probe
from finesweep.system.console import make_console, quiet_libraries, working
from finesweep.system.programs import train_words
from finesweep.system.redaction import shown
from finesweep.system.redaction.words import masked_command

if TYPE_CHECKING:
    from finesweep.commands.data.report import Report
    from finesweep.runs.preparation import Prepared


def look(
    arguments: Sequence[str], *, as_json: bool = False, page: Path | None = None, with_probe: bool = False
) -> None:
    """Show what a run with these overrides would learn from; exit as training does where it would refuse.

    Args:
        arguments: the words after `python train.py`.
        as_json: print JSON on stdout and nothing else there; a refusal too.
        page: the HTML file to write.
        with_probe: measure a linear model on the frozen encoder too.
    """
    with reported_errors():
        try:
            if page:
                check_page(page)
            with redirect_stdout(sys.stderr if as_json else sys.stdout):  # a user's own source may print
                report = inspect_data(arguments, with_probe=with_probe)
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


def inspect_data(arguments: Sequence[str], *, with_probe: bool = False) -> Report:
    """Compose, check, read and encode as a run does before it loads its model, and describe what came of it.

    Args:
        arguments: the words after `python train.py`.
        with_probe: load the model after all, for a probe.

    Raises:
        ConfigError: the config can't be run.
        FinesweepError: the data can't be used.
    """
    measured: dict[str, float] = {}
    with compose(arguments).checked() as config:
        quiet_libraries()
        if with_probe:
            prepared, measured = _probed(config)
            config, data = prepared.config, prepared.data
            encoder, encoded = prepared.encoder, prepared.encoded
        else:
            data, encoder = build(config["data"]), build(config["tokenizer"])
            encoded = encoder.encode(data.splits)
            config, data = with_objective(config, data)
    command, objective = masked_command([*train_words(), *arguments]), config["objective"]["metric"]
    return make_report(data, encoder, encoded, objective=objective, command=command, probe=measured)


def _probed(config: dict[str, Any]) -> tuple[Prepared, dict[str, float]]:
    """Prepare a run and measure its probe on the validation split; the test split waits for a run.

    Raises:
        FinesweepError: there is no probe of it.
    """
    if config.get("baseline", "none") == "none":
        fix = "Leave one of them out."
        raise ConfigError(Fault("--probe", "baseline=none says that there is no probe.", fix=fix))
    with working("Measuring the probe"):
        prepared = prepare(config)
        found = probe(prepared, ["validation"])
    if not found:
        why = "Tags of words have none." if prepared.data.schema.problem_type == TOKENS else "It has none."
        rule = f"No linear model on this encoder was measured. {why}"
        raise FinesweepError(Fault("--probe", rule, prepared.classifier.name, fix="Leave it out."))
    return prepared, found


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
        console.print(f"The page is {page}", markup=False, soft_wrap=True)
