"""From a source to checked splits and a label schema."""

from finesweep.data.dataset import TextData, load_text_data
from finesweep.data.labels import LabelSchema

__all__ = ["LabelSchema", "TextData", "load_text_data"]
