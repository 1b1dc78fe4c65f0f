"""`finesweep work`: a worker that joins a sweep from any shell, job or machine."""

from __future__ import annotations

import re
from enum import StrEnum

SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
TIME = re.compile(r"(?:[\d.]+[dhms])+")


class Engine(StrEnum):
    """Who places the workers."""

    slurm = "slurm"
    kubernetes = "kubernetes"
    ray = "ray"


def seconds_of(text: str) -> float:
    """Read a time such as 55m, 1h30m or 90s.

    Raises:
        ValueError: it is none.
    """
    if not TIME.fullmatch(text.strip()):
        raise ValueError(f"{text} is no time such as 55m or 1h30m")
    return sum(float(number) * SECONDS[unit] for number, unit in re.findall(r"([\d.]+)([dhms])", text))
