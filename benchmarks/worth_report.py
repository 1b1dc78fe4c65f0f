"""What the replayed rules are worth, as a table for each data set and one for all of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from worth_rules import RULES, Replayed, Rule
from worth_tables import Table

NEAR = 0.005  # half a point
HEAD = (
    "| rule | winner - default, points | of the best's gain | below default (by over half a point) "
    "| near the best at the end | time to it, median | whole | computed | pruned |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Outcome:
    """What a study came to.

    Args:
        gain: test score of the winner over the default's; each is its mean over the table's seeds.
        possible: of the best point over the default's.
        near: from when on what the search would name is within half a point of the best; infinity for never.
        went: the search.
    """

    gain: float
    possible: float
    near: float
    went: Replayed


def outcome(table: Table, went: Replayed) -> Outcome:
    """Judge a replayed search by the test scores, which it hasn't seen."""
    default = table.truth(table.default)
    near = went.time_to(table.best - NEAR, table)
    return Outcome(table.truth(went.winner) - default, table.best - default, near, went)


def report(tables: Sequence[Table], rules: Sequence[str], studies: int, workers: int) -> Iterator[str]:
    """Yield the lines of the report.

    Args:
        tables: of the data sets.
        rules: names among RULES.
        studies: of each rule and table.
        workers: of each study.
    """
    every: dict[str, list[Outcome]] = {name: [] for name in rules}
    yield f"{studies} studies of each rule, {workers} workers; times are in trainings of full length\n"
    for table in tables:
        yield _about(table)
        yield HEAD
        for name in rules:
            rule = Rule(table, RULES[name])
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
        f"{default:.4f}, of the best point {table.best:.4f}\n"
    )


def _row(name: str, found: Sequence[Outcome]) -> str:
    gains = [one.gain for one in found]
    below = [sum(gain < limit for gain in gains) / len(gains) for limit in (0, -NEAR)]
    possible = statistics.mean(one.possible for one in found)
    share = f"{statistics.mean(gains) / possible:.0%}" if possible > NEAR else "-"
    near = [one.near for one in found]
    time = statistics.median(near)
    cells = [
        f"{100 * statistics.mean(gains):+.2f}",
        share,
        f"{below[0]:.0%} ({below[1]:.0%})",
        f"{sum(map(math.isfinite, near)) / len(near):.0%}",
        f"{time:.1f}" if math.isfinite(time) else "never",
        *(
            f"{statistics.mean(getattr(one.went, key) for one in found):.1f}"
            for key in ("whole", "spent", "pruned")
        ),
    ]
    return f"| {name} | " + " | ".join(cells) + " |"
