"""Fine-tuning sweeps, from one command to a result you can defend."""

__version__ = "0.1.0"
