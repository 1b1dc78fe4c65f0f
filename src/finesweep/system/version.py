"""The version of finesweep, which runs and sweeps record."""

__version__ = "0.1.0"
