"""Which tokens of a row stay when it has more than the model may read: one cut row, or windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from finesweep.tokenization.settings import Truncation

# What a token belongs to: the tokenizer's own tokens, the first sequence, the second.
SPECIAL, FIRST, SECOND = -1, 0, 1


class NoRoom(Exception):
    """Nothing of the sequence that is to be cut would be left."""


@dataclass(frozen=True)
class Cut:
    """How rows are brought to at most `max_length` tokens.

    Args:
        max_length: tokens in a row, special tokens included.
        truncation: which tokens go; of a pair with windows, `first` or `second` is the one in windows.
        windows: several rows instead of a cut one.
        stride: tokens that neighbouring windows share.
        from_left: a cut drops the first tokens instead of the last (the tokenizer's `truncation_side`).
    """

    max_length: int
    truncation: Truncation = "longest"
    windows: bool = False
    stride: int = 0
    from_left: bool = False

    def pieces(self, parts: np.ndarray) -> list[np.ndarray]:
        """Return the positions that each resulting row takes, in order; every row has all special tokens.

        Args:
            parts: SPECIAL, FIRST or SECOND for each token, shape (tokens,).

        Raises:
            NoRoom: the special tokens and the sequence that isn't cut leave no room.
        """
        if len(parts) <= self.max_length:
            return [np.arange(len(parts))]
        return self._windows(parts) if self.windows else [self._cut(parts)]

    def _cut(self, parts: np.ndarray) -> np.ndarray:
        special, first, second = (np.flatnonzero(parts == part) for part in (SPECIAL, FIRST, SECOND))
        room = self.max_length - len(special)
        if self.truncation == "head+tail":
            return np.sort(np.concatenate([special, head_and_tail(first, room)]))
        kept = sizes(len(first), len(second), room, self.truncation)
        ends = [
            side[len(side) - size :] if self.from_left else side[:size]
            for side, size in zip((first, second), kept, strict=True)
        ]
        return np.sort(np.concatenate([special, *ends]))

    def _windows(self, parts: np.ndarray) -> list[np.ndarray]:
        moving = parts == (SECOND if self.truncation == "second" else FIRST)
        fixed, tokens = np.flatnonzero(~moving), np.flatnonzero(moving)
        room = self.max_length - len(fixed)
        if room <= self.stride:
            raise NoRoom
        starts = window_starts(len(tokens), room, self.stride)
        return [np.sort(np.concatenate([fixed, tokens[start : start + room]])) for start in starts]


def head_and_tail(positions: np.ndarray, room: int) -> np.ndarray:
    """Return the first and the last of the positions, half of the room each; the odd one is the head's."""
    tail = room // 2
    return np.concatenate([positions[: room - tail], positions[len(positions) - tail :]])


def window_starts(tokens: int, room: int, stride: int) -> range:
    """Return where windows of `room` tokens begin, the last one as soon as it reaches the end."""
    return range(0, max(tokens - stride, 1), room - stride)


def sizes(first: int, second: int, room: int, truncation: Truncation) -> tuple[int, int]:
    """Return how many tokens of each sequence stay, as the tokenizers library has it.

    Raises:
        NoRoom: the one sequence that may be cut isn't longer than what has to go.
    """
    if truncation == "longest":
        return _longest_first(first, second, room)
    excess = first + second - room
    if excess >= (first if truncation == "first" else second):
        raise NoRoom
    return (first - excess, second) if truncation == "first" else (first, second - excess)


def _longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """Follow tokenizers' `longest_first`: the shorter stays whole while it has no more than half the room."""
    short = min(first, second)
    if 2 * short <= room:
        return (short, room - short) if first <= second else (room - short, short)
    half = room // 2
    return (half, room - half) if first <= second else (room - half, half)
