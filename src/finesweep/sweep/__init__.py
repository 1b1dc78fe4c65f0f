"""Searches: a study, the workers that run its trials, and what they leave."""

from finesweep.sweep.trial import CurrentTrial, current_trial

__all__ = ["CurrentTrial", "current_trial"]
