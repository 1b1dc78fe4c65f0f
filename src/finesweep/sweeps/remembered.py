"""A point that did well in an earlier sweep, as a new one keeps it in its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution

from finesweep.sweeps.space import value_on
from finesweep.system.records import damaged

SHAPE = [{"point": dict, "sweep": str, "rank": int, "of": int}]


@dataclass(frozen=True)
class Remembered:
    """A point that did well in an earlier sweep.

    Args:
        point: of this sweep's space; axes that it leaves out are the sampler's.
        sweep: the earlier one's name.
        rank: of the trial that had it there, from 1.
        of: so many complete trials.
    """

    point: dict[str, Any]
    sweep: str
    rank: int
    of: int

    def __str__(self) -> str:
        return f"from sweep {self.sweep}, {_ordinal(self.rank)} of {self.of}"

    def to_manifest(self) -> dict[str, Any]:
        """Return plain values for sweep.yaml."""
        return asdict(self)


def from_manifest(
    file: Path, saved: list[dict[str, Any]], axes: Mapping[str, BaseDistribution]
) -> tuple[Remembered, ...]:
    """Return what a manifest holds of earlier sweeps, which may be a stranger's.

    Raises:
        DamagedFile: a point lies outside of the space.
    """
    for one in saved:
        for key, value in one["point"].items():
            if key not in axes or not _has(axes[key], value):
                raise damaged(file, f"damaged: a remembered point can't have {key}={value!r}")
    return tuple(Remembered(one["point"], one["sweep"], one["rank"], one["of"]) for one in saved)


def _has(axis: BaseDistribution, value: Any) -> bool:
    if isinstance(axis, CategoricalDistribution):
        return value in axis.choices
    try:
        value_on(axis, value)
    except ValueError:
        return False
    return True


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
