"""What `tracker=[wandb,tensorboard]` stands for: Hydra gives a group one place, and each needs its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

CHOICE = "tracker="
LIST = re.compile(r"tracker=\[(.*)\]")
SEVERAL = "tracker=several"
PLACED = "+tracker@tracker."


def spelled_out(words: Sequence[str]) -> Iterator[str]:
    """Replace a list of trackers by the words with which Hydra puts each under its name.

    Another choice after them takes their place: a sweep's manifest has the words, and `finesweep resume`
    adds to them.

    Args:
        words: a command line.
    """
    last = max((i for i, word in enumerate(words) if word.startswith(CHOICE)), default=-1)
    for i, word in enumerate(words):
        listed = LIST.fullmatch(word)
        if i < last and words[last] != SEVERAL and (listed or word.startswith((SEVERAL, PLACED))):
            continue
        if listed is None:
            yield word
            continue
        yield SEVERAL
        names = (name.strip(" '\"") for name in listed[1].split(","))
        yield from (f"{PLACED}{name}={name}" for name in dict.fromkeys(names) if name)
