"""`finesweep report`: a sweep's folder in; report.html, report.md and pictures out."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from finesweep.commands.report import markdown
from finesweep.commands.report import page as html
from finesweep.commands.report.pictures import draw
from finesweep.commands.report.record import read_sweep
from finesweep.commands.report.words import words_of
from finesweep.sweeps.verdict import Verdict
from finesweep.system.console import working
from finesweep.system.files import write_text
from finesweep.system.paths import relative_to_here
from finesweep.system.sweep_folder import SweepFolder


def write_report(
    path: Path,
    trusted: Collection[str] = (),
    *,
    pictures: bool = True,
    storage: Any = None,
    verdict: Verdict | None = None,
) -> Path:
    """Write a sweep's report into its folder, and return the page.

    Args:
        path: the sweep's folder; finished or not.
        trusted: targets of the sweep's storage that the user vouches for.
        storage: where the sweep's study is; as its manifest says when None.
        verdict: on its winner, if that is known already.
        pictures: draw the PNG files too, which takes matplotlib's time to start; where there is no
            script the page shows them.

    Raises:
        FinesweepError: no sweep folder, or a study that can't be opened.
    """
    with working("Writing the report"):
        sweep, files = read_sweep(path, trusted, storage, verdict), SweepFolder(path)
        words = words_of(sweep)
        made = draw(sweep, files.pictures) if pictures else []
        write_text(files.page, html.render(sweep, words, made))
        drawn = [str(file.relative_to(path)) for file in files.drawn()]
        write_text(files.markdown, markdown.render(sweep, words, drawn))
    return files.page


def show(path: Path, trusted: Collection[str] = (), *, as_json: bool = False) -> None:
    """Write a sweep's report and say where it is.

    Raises:
        FinesweepError: no sweep folder, or a study that can't be opened.
    """
    page = write_report(path, trusted)
    if as_json:
        files = SweepFolder(path)
        written = {"page": page, "text": files.markdown, "pictures": files.drawn()}
        print(json.dumps(written, indent=1, default=str))
    else:
        print(f"The report is {relative_to_here(page.absolute())}")
