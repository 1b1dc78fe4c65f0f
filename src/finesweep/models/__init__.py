"""A backbone, its head and what a PEFT method adds to them."""

from finesweep.models.adalora import adalora_config
from finesweep.models.adapters import BitFit, FullFineTuning, HeadOnly
from finesweep.models.loading import load_classifier, random_classifier

__all__ = ["BitFit", "FullFineTuning", "HeadOnly", "adalora_config", "load_classifier", "random_classifier"]
