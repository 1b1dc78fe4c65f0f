"""What the replayed rules are worth, as a table for each data set and one for all of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from worth_replay import Replayed, Rule
from worth_rules import RULES
from worth_runs import Runs
from worth_tables import Table

NEAR = 0.005  # half a point
HEAD = (
    "| rule | winner - default, points | of the best's gain | below default (beyond noise) "
    "| near the best (time) | within noise of it (time) | whole | computed | pruned |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Outcome:
    """What a study came to.

    Args:
        gain: test score of the winner over the default's; each is its mean over the table's seeds.
        possible: of the best point over the default's.
        noise: the standard error of such a mean.
        near: from when on what the search would name is within half a point of the best; infinity for never.
        about: the same of within twice the noise.
        went: the search.
    """

    gain: float
    possible: float
    noise: float
    near: float
    about: float
    went: Replayed


def outcome(table: Table, went: Replayed) -> Outcome:
    """Judge a replayed search by the test scores, which it hasn't seen."""
    default = table.truth(table.default)
    near, about = (went.time_to(table.best - margin, table) for margin in (NEAR, 2 * table.noise))
    gain, possible = table.truth(went.winner) - default, table.best - default
    return Outcome(gain, possible, table.noise, near, about, went)


def report(tables: Sequence[Table], rules: Sequence[str], studies: int, workers: int) -> Iterator[str]:
    """Yield the lines of the report; a rule's memory is made of all tables but the one that is searched.

    Args:
        tables: of the data sets.
        rules: names among RULES.
        studies: of each rule and table.
        workers: of each study.
    """
    every: dict[str, list[Outcome]] = {name: [] for name in rules}
    yield f"{studies} studies of each rule, {workers} workers; times are in trainings of full length\n"
    for table in tables:
        others, runs = [other for other in tables if other is not table], Runs(table)
        yield _about(table)
        yield HEAD
        for name in rules:
            rule = Rule(table, RULES[name], others, runs)
            found = [outcome(table, rule.replay(seed, workers)) for seed in range(studies)]
            every[name] += found
            yield _row(name, found)
        yield ""
    if len(tables) > 1:
        yield f"**All {len(tables)} data sets**\n"
        yield HEAD
        for name, found in every.items():
            yield _row(name, found)


def _about(table: Table) -> str:
    header, default = table.header, table.truth(table.default)
    size = f"{len(table.curves)} points, {len(table.seeds)} seeds"
    return (
        f"**{header['data']}**: {header.get('description', '')} ({size}); test score of the default "
        f"{default:.4f}, of the best point {table.best:.4f}, give or take {table.noise:.4f}\n"
    )


def _row(name: str, found: Sequence[Outcome]) -> str:
    mean = statistics.mean(one.gain for one in found)
    possible = statistics.mean(one.possible for one in found)
    below = _share(one.gain < 0 for one in found), _share(one.gain < -one.noise for one in found)
    cells = [
        f"{100 * mean:+.2f}",
        f"{mean / possible:.0%}" if possible > NEAR else "-",
        f"{below[0]:.0%} ({below[1]:.0%})",
        _reached([one.near for one in found]),
        _reached([one.about for one in found]),
        *(
            f"{statistics.mean(getattr(one.went, key) for one in found):.1f}"
            for key in ("whole", "spent", "pruned")
        ),
    ]
    return f"| {name} | " + " | ".join(cells) + " |"


def _reached(times: Sequence[float]) -> str:
    """Return how often a goal was reached, and the median time to it."""
    time = statistics.median(times)
    return f"{_share(map(math.isfinite, times)):.0%} ({f'{time:.1f}' if math.isfinite(time) else 'never'})"


def _share(ones: Iterable[bool]) -> float:
    return statistics.mean(map(float, ones))
