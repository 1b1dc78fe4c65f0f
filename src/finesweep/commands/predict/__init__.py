"""Predictions of a finished run for rows that it has never seen."""

from finesweep.commands.predict.predictor import Predictions, Predictor

__all__ = ["Predictions", "Predictor"]
