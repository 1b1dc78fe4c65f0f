"""Trainers, and the monitors that listen to them."""

from finesweep.training.base import Decision, Fitted, Monitor, Monitors, Trainer, TrainingTask

__all__ = ["Decision", "Fitted", "Monitor", "Monitors", "Trainer", "TrainingTask"]
