"""What `tracker=[wandb,tensorboard]` stands for: Hydra gives a group one place, and each needs its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

LIST = re.compile(r"tracker=\[(.*)\]")


def spelled_out(words: Iterable[str]) -> Iterator[str]:
    """Replace a list of trackers by the words with which Hydra puts each under its name.

    Args:
        words: a command line.
    """
    for word in words:
        listed = LIST.fullmatch(word)
        if listed is None:
            yield word
            continue
        yield "tracker=several"
        names = (name.strip(" '\"") for name in listed[1].split(","))
        yield from (f"+tracker@tracker.{name}={name}" for name in dict.fromkeys(names) if name)
