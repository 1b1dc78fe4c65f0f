"""Look at what a run would learn from, without training."""

from finesweep.inspection.report import Report, make_report

__all__ = ["Report", "make_report"]
