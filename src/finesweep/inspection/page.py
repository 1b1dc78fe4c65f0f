"""The report as one HTML file that needs nothing else."""

from __future__ import annotations

from finesweep.inspection.report import Report
from finesweep.inspection.text import bin_name, number, task_of


def render(report: Report) -> str:
    """Return the page; whatever comes from the data is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("finesweep.inspection", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"bin_name": bin_name, "number": number, "percent": _percent}
    return environment.get_template("page.html").render(report=report, task=task_of(report))


def _percent(share: float) -> str:
    return f"{share:.1%}"
