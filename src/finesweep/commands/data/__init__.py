"""Look at what a run would learn from, without training."""

from finesweep.commands.data.report import Report, make_report

__all__ = ["Report", "make_report"]
