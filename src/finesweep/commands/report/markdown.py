"""A sweep's report as Markdown, for a pull request or a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from finesweep.commands.report.record import SweepRecord
from finesweep.commands.report.words import Words, interval, number

SHOWN_TRIALS = 20
SPECIAL = str.maketrans({letter: f"\\{letter}" for letter in "\\`*_{}[]<>#|~"})


def render(sweep: SweepRecord, words: Words, pictures: Sequence[str] = ()) -> str:
    """Return the report.

    Args:
        sweep: what it is of.
        words: its sentences and tables.
        pictures: paths of pictures, from the report's place.
    """
    lines = [f"# {_text(sweep.name)}", ""]
    if words.verdict:
        first, *rest = map(_text, words.verdict)
        lines += [" ".join([f"**{first}**", *rest]), ""]
    lines += [*(_text(sentence) for sentence in words.sentences), ""]
    if words.commands:
        lines += ["```bash"]
        lines += [f"{command}  # {purpose}" for purpose, command in words.commands.items()] + ["```", ""]
    if sweep.confirmed:
        lines += [
            "## Confirmed with fresh seeds",
            "",
            _text(sweep.confirmed["words"]),
            "",
            *_confirmed(sweep),
        ]
    lines += [f"![{name.rpartition('/')[2].removesuffix('.png')}]({name})" for name in pictures]
    lines += [""] * bool(pictures) + ["## Leaderboard", ""]
    rows = [[text for text, _ in row] for row in words.rows[:SHOWN_TRIALS]]
    lines += _table(words.columns, rows)
    left = len(words.rows) - SHOWN_TRIALS
    lines += ["", f"{left} more trials are in leaderboard.csv."] if left > 0 else []
    if words.failures:
        failed = [[error, ", ".join(map(str, numbers))] for error, numbers in words.failures]
        lines += ["", "## Failures", "", *_table(("error", "trials"), failed)]
    lines += [
        "",
        "## Provenance",
        "",
        *_table(("what", "value"), [list(pair) for pair in words.provenance.items()]),
    ]
    return "\n".join(lines) + "\n"


def _confirmed(sweep: SweepRecord) -> list[str]:
    assert sweep.confirmed
    candidates = [
        [one["name"], number(one["mean"]), number(one["sd"]), interval(one)]
        for one in sweep.confirmed["candidates"]
    ]
    differences = [
        [
            f"{one['of']} over {one['over']}",
            number(one["mean"], "+.4f"),
            interval(one, "+.4f"),
            one["verdict"],
        ]
        for one in sweep.confirmed["differences"]
    ]
    metric = sweep.confirmed["metric"]
    return [
        *_table(("candidate", metric, "sd", "95% interval"), candidates),
        "",
        *_table(("difference", "mean", "95% interval", "verdict"), differences),
        "",
    ]


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    lines = ["| " + " | ".join(map(_text, columns)) + " |", "|" + "---|" * len(columns)]
    return lines + ["| " + " | ".join(_text(str(cell)) for cell in row) + " |" for row in rows]


def _text(value: str) -> str:
    """Return a text whose letters mean nothing to Markdown, on one line."""
    return " ".join(value.split()).translate(SPECIAL)
