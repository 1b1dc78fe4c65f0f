"""What other tables tell a search: all of them as a prior, or what searches of them found as a history."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from worth_tables import RANK, RATE, Point, Table

from finesweep.runs.features import Features
from finesweep.sweeps.history import Finished
from finesweep.sweeps.portfolio import FARTHEST

SIMILAR = 3  # sweeps of a history


def prior(tables: Sequence[Table]) -> list[Finished]:
    """Return each table as a finished sweep of its whole grid, ranked by validation over all its seeds."""
    return [as_finished(table, table.ranking) for table in tables]


def nearest(table: Table, others: Iterable[Table]) -> list[Table]:
    """Return the tables whose data are most like a table's, as sweeps judge it; not those too far away."""
    known = [(features(table).distance(features(other)), other) for other in others]
    near = [(distance, other) for distance, other in known if distance is not None and distance <= FARTHEST]
    return [other for _, other in sorted(near, key=lambda pair: pair[0])][:SIMILAR]


def features(table: Table) -> Features:
    """Return what a table's header says of its data, model and method."""
    return Features(**table.header["features"])


def as_finished(table: Table, points: Iterable[Point]) -> Finished:
    """Return a search of a table as a finished sweep: the points of its trials, best first."""
    texts = tuple({RANK: str(rank), RATE: str(rate)} for rank, rate in points)
    return Finished(table.header["data"], features(table), texts)
