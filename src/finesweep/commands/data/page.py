"""The report as one HTML file that needs nothing else."""

from __future__ import annotations

from finesweep.commands.data.report import Report
from finesweep.commands.data.text import bin_name, number, task_of
from finesweep.system.templates import template


def render(report: Report) -> str:
    """Return the page; whatever comes from the data is escaped."""
    filters = {"bin_name": bin_name, "number": number, "percent": _percent}
    return template("finesweep.commands.data", "page.html", filters).render(
        report=report, task=task_of(report)
    )


def _percent(share: float) -> str:
    return f"{share:.1%}"
