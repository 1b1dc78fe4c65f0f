"""From texts to batches of token ids."""

from finesweep.tokenization.encoder import TextEncoder

__all__ = ["TextEncoder"]
