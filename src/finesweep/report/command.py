"""`finesweep report`: a sweep's folder in; report.html, report.md and pictures out."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from finesweep.rundir import write_text

PAGE, TEXT, PICTURES = "report.html", "report.md", "pictures"


def write_report(path: Path, trusted: Collection[str] = (), *, pictures: bool = True) -> Path:
    """Write a sweep's report into its folder, and return the page.

    Args:
        path: the sweep's folder; finished or not.
        trusted: targets of the sweep's storage that the user vouches for.
        pictures: draw the PNG files too, which takes matplotlib's time to start.

    Raises:
        FinesweepError: no sweep folder, or a study that can't be opened.
    """
    from finesweep.report import markdown, page
    from finesweep.report.record import read_sweep
    from finesweep.report.words import words_of

    sweep = read_sweep(path, trusted)
    words = words_of(sweep)
    write_text(path / PAGE, page.render(sweep, words))
    if pictures:
        from finesweep.report.pictures import draw

        draw(sweep, path / PICTURES)
    drawn = sorted((path / PICTURES).glob("*.png"))
    write_text(path / TEXT, markdown.render(sweep, words, [f"{PICTURES}/{file.name}" for file in drawn]))
    return path / PAGE
