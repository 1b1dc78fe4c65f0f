"""Experiment trackers: monitors that send a run elsewhere, and can never break it."""

from finesweep.trackers.background import Background, Sinks
from finesweep.trackers.base import NoTracker, RunInfo, Several, Tracker
from finesweep.trackers.mlflow import MlflowTracker
from finesweep.trackers.tensorboard import TensorboardTracker
from finesweep.trackers.trackio import TrackioTracker
from finesweep.trackers.wandb import WandbTracker

__all__ = [
    "Background",
    "MlflowTracker",
    "NoTracker",
    "RunInfo",
    "Several",
    "Sinks",
    "TensorboardTracker",
    "Tracker",
    "TrackioTracker",
    "WandbTracker",
]
