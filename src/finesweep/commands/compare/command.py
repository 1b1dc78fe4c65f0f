"""`finesweep compare`: the table, on a terminal, as CSV, JSON or Markdown."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from finesweep.commands.compare.groups import FINGERPRINT, Group, group, read_runs
from finesweep.errors import Fault, FinesweepError
from finesweep.runs.difference import Difference, difference
from finesweep.system.console import size_text
from finesweep.system.files import finite
from finesweep.system.paths import relative_to_here
from finesweep.system.tables import aligned, one_cell

WIDTH = 80
MOST_DIFFERENCES = 10


@dataclass(frozen=True)
class Comparison:
    """Groups of runs, the best first.

    Args:
        metric: what they are ranked by, on the validation split.
        groups: each with its runs.
        split: what the differences are measured on: test where all runs have it.
        differences: of the best over the others, in their order; None where their rows differ.
        notes: what was left out, and why.
    """

    metric: str
    groups: tuple[Group, ...]
    split: str
    differences: tuple[Difference | None, ...]
    notes: tuple[str, ...]

    def rows(self) -> list[dict[str, Any]]:
        """Return a flat row for each group."""
        return [self._row(place, one) for place, one in enumerate(self.groups)]

    def _row(self, place: int, one: Group) -> dict[str, Any]:
        row: dict[str, Any] = {"place": place + 1, **one.config, "runs": len(one.runs)}
        for split in ("validation", "test"):
            name = f"{split}/{self.metric}"
            row |= {name: one.mean(name), f"{name} sd": one.deviation(name)}
        row |= {
            "trainable": one.runs[0].trainable,
            "bytes": one.runs[0].bytes,
            "seconds": sum(run.seconds for run in one.runs) / len(one.runs),
        }
        found = self.differences[place - 1] if 0 < place <= len(self.differences) else None
        row |= {
            "best minus this": found and found.mean,
            "low": found and found.low,
            "high": found and found.high,
        }
        return row | {"folders": " ".join(str(relative_to_here(run.folder.path)) for run in one.runs)}

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        differences = [found and asdict(found) for found in self.differences]
        return {
            "metric": self.metric,
            "groups": self.rows(),
            "differences": {"split": self.split, "of_the_best_over": differences},
            "notes": list(self.notes),
        }


def compare(paths: Sequence[Path]) -> Comparison:
    """Read runs, group them over their seeds, and measure what is luck in their differences.

    Args:
        paths: run folders, sweep folders, or folders of them.

    Raises:
        FinesweepError: see read_runs.
    """
    runs, notes = read_runs(paths)
    groups, metric = group(runs), runs[0].objective
    tested = all(f"test/{metric}" in run.metrics for run in runs)
    split = "test" if tested else "validation"
    if not tested:
        notes.append(
            "Not all runs have read the test split; differences are on validation, which chose them."
        )
    if any(key.startswith(f"{FINGERPRINT}.") for one in groups for key in one.config):
        notes.append("Runs of one config stand apart where their data or their model changed between them.")
    best, *others = groups
    found = tuple(
        difference(metric, best.folders, other.folders, split, maximizes=runs[0].maximizes)
        for other in others[:MOST_DIFFERENCES]
    )
    if any(one is None for one in found):
        notes.append("Runs whose rows differ are not compared row by row.")
    return Comparison(metric, tuple(groups), split, found, tuple(notes))


def writer(**wanted: bool) -> Callable[[Comparison], str]:
    """Return what writes a comparison in the one form that is wanted, or for a screen.

    Args:
        wanted: of csv, json and md.

    Raises:
        FinesweepError: several are.
    """
    forms = [f"--{name}" for name, is_wanted in wanted.items() if is_wanted]
    if len(forms) > 1:
        raise FinesweepError(Fault(" ".join(forms), "One form at a time.", fix="Run it again for another."))
    writers = {"--csv": as_csv, "--json": as_json, "--md": as_markdown}
    return writers[forms[0]] if forms else lambda found: "\n".join(lines_of(found))


def lines_of(found: Comparison) -> list[str]:
    """Return the lines to print: figures first, and what a group is at the end or below."""
    head = ("", "runs", f"validation {found.metric}", "test", "trained", "saved", "seconds")
    cells = [_cells(place, one, found.metric) for place, one in enumerate(found.groups, start=1)]
    labels = [one_cell(one.label) for one in found.groups]
    rows = [(*row, label) for row, label in zip(cells, labels, strict=True)]
    heading, *drawn = aligned([(*head, ""), *rows])
    lines = [heading]
    for line, label in zip(drawn, labels, strict=True):
        below = [line.removesuffix(label).rstrip(), f"    {label}"]
        lines += [line] if len(line) <= WIDTH else below
    if found.differences:
        lines += ["", f"The best minus another, on {found.split} (95% interval):"]
    lines += [_difference_line(place, one) for place, one in enumerate(found.differences, start=2)]
    return [*lines, *([""] if found.notes else []), *found.notes]


def as_csv(found: Comparison) -> str:
    """Return a line for each group."""
    rows = found.rows()
    text = io.StringIO()
    writer = csv.DictWriter(
        text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_json(found: Comparison) -> str:
    """Return everything as JSON."""
    return json.dumps(finite(found.to_json()), indent=1, default=str)


def as_markdown(found: Comparison) -> str:
    """Return a table for a paper's notes or a pull request."""
    columns = [
        "",
        "config",
        "runs",
        f"validation {found.metric}",
        f"test {found.metric}",
        "trained",
        "saved",
        "seconds",
    ]
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for place, one in enumerate(found.groups, start=1):
        number, runs, *rest = _cells(place, one, found.metric)
        lines.append("| " + " | ".join([number, one.label.replace("|", "\\|"), runs, *rest]) + " |")
    lines += [""] + [
        _difference_line(place, one) + "  " for place, one in enumerate(found.differences, start=2)
    ]
    return "\n".join([*lines, *found.notes]) + "\n"


def _cells(place: int, one: Group, metric: str) -> tuple[str, ...]:
    seconds = sum(run.seconds for run in one.runs) / len(one.runs)
    first = one.runs[0]
    return (
        f"{place}.",
        str(len(one.runs)),
        _mean(one, f"validation/{metric}"),
        _mean(one, f"test/{metric}"),
        f"{first.trainable:,}",
        size_text(first.bytes),
        f"{seconds:.0f}",
    )


def _mean(one: Group, metric: str) -> str:
    mean, deviation = one.mean(metric), one.deviation(metric)
    if mean is None:
        return "-"
    return f"{mean:.4f}" if deviation is None else f"{mean:.4f} ± {deviation:.4f}"


def _difference_line(place: int, found: Difference | None) -> str:
    if found is None:
        return f"1. over {place}.: their rows differ"
    interval = f"({found.low:+.4f} to {found.high:+.4f})"
    return f"1. over {place}.: {found.mean:+.4f} {interval}: {found.verdict}"
