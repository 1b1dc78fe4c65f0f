"""`finesweep confirm`: retrain, compare, and say it in words."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from finesweep.commands.compare.groups import Group
from finesweep.commands.confirm.candidates import Candidate, Field, read_field
from finesweep.commands.confirm.retraining import read_groups, retrain
from finesweep.commands.report.command import write_report
from finesweep.runs.difference import Difference, difference, spread
from finesweep.sweeps.display import params_text
from finesweep.system import console
from finesweep.system.files import finite, write_json
from finesweep.system.paths import typed
from finesweep.system.sweep_folder import SweepFolder

SPLIT = "test"


def confirm(
    path: Path,
    top: int = 3,
    seeds: int = 5,
    overrides: Sequence[str] = (),
    trusted: Collection[str] = (),
    *,
    as_json: bool = False,
) -> dict[str, Any]:
    """Retrain a sweep's best configurations with fresh seeds, and hold the winner against the others.

    Each retrained run reads the test split once. What comes out is written to confirm.json and into the
    sweep's report. Called again it finishes what is missing; with more seeds it adds to what is there.

    Args:
        path: the sweep's folder.
        top: how many of its best configurations; its base config joins them.
        seeds: how many seeds each is trained with.
        overrides: more words for the command line, such as `hydra.sweeper.n_jobs=1`.
        trusted: targets of the saved configs that the user vouches for.
        as_json: print the result as JSON on stdout, and nothing else there.

    Raises:
        FinesweepError: no sweep, nothing complete in it, or runs that failed.
    """
    path = path.expanduser().absolute()
    field = read_field(path, top, trusted)
    with contextlib.redirect_stdout(sys.stderr if as_json else sys.stdout):
        names = ", ".join(one.label for one in field.candidates)
        print(
            f"confirm    {names}; {seeds} fresh seeds each; a trial of the sweep took {field.seconds:.0f} s"
        )
        used = retrain(path, field, seeds, overrides, trusted)
        found = judge(field, read_groups(path, field, trusted), used)
        write_json(SweepFolder(path).confirmation, found)
        report = write_report(path, trusted, pictures=SweepFolder(path).pictures.is_dir())
        if not as_json:
            _show(found, path, report)
    if as_json:
        print(json.dumps(finite(found), indent=1))
    return found


def judge(field: Field, groups: Sequence[Group], seeds: range) -> dict[str, Any]:
    """Return what the retrained runs say, in numbers and in words.

    Args:
        field: who was retrained.
        groups: each candidate's runs, in its order.
        seeds: they were trained with.
    """
    winner = groups[0]
    metric, maximizes = winner.runs[0].objective, winner.runs[0].maximizes
    rows = [_row(one, group, metric) for one, group in zip(field.candidates, groups, strict=True)]
    against = [
        difference(metric, winner.folders, other.folders, SPLIT, maximizes=maximizes) for other in groups[1:]
    ]
    pairs = [(other.label, gap) for other, gap in zip(groups[1:], against, strict=True) if gap]
    sentences = [
        f"Each configuration was trained anew with {len(seeds)} fresh seeds, {seeds[0]} to {seeds[-1]}, "
        f"and each of these runs read the test split once.",
        _of_winner(rows[0], field.candidates[0], metric),
        *(f"{_judged(winner.label, label, gap)}." for label, gap in pairs),
        _of_another(rows, maximizes=maximizes),
        _of_failures(rows, len(seeds)),
    ]
    return {
        "metric": f"{SPLIT}/{metric}",
        "seeds": list(seeds),
        "words": " ".join(sentence for sentence in sentences if sentence),
        "candidates": rows,
        "differences": [
            {"of": winner.label, "over": label, "mean": gap.mean, "low": gap.low, "high": gap.high,
             "verdict": gap.verdict, "rows": gap.rows}
            for label, gap in pairs
        ],
    }  # fmt: skip


def _row(one: Candidate, group: Group, metric: str) -> dict[str, Any]:
    name = f"{SPLIT}/{metric}"
    _, low, high = spread(metric, group.folders, SPLIT) or (None, None, None)
    return {
        "name": one.label,
        "params": one.params,
        "claimed": one.claimed,
        "values": group.values(name),
        "mean": group.mean(name),
        "sd": group.deviation(name),
        "low": low,
        "high": high,
        "trainable": group.runs[0].trainable,
    }


def _of_winner(row: dict[str, Any], one: Candidate, metric: str) -> str:
    interval = f" (95% interval {row['low']:.4f} to {row['high']:.4f})" if row["low"] is not None else ""
    claimed = f"; the sweep had shown {one.claimed:.4f} on validation" if one.claimed is not None else ""
    return f"The winner, {one.label}, reached {metric} {row['mean']:.4f}{interval}{claimed}."


def _judged(winner: str, other: str, gap: Difference) -> str:
    numbers = f"{gap.mean:+.4f}, 95% interval {gap.low:+.4f} to {gap.high:+.4f}"
    told = "cannot be told apart from" if gap.verdict == "not told apart" else f"is {gap.verdict} than"
    return f"{winner.capitalize()} {told} {other} ({numbers})"


def _of_another(rows: Sequence[dict[str, Any]], *, maximizes: bool) -> str:
    sign = 1 if maximizes else -1
    best = max(rows, key=lambda row: sign * row["mean"])
    return "" if best is rows[0] else f"The best mean is that of {best['name']}: {best['mean']:.4f}."


def _of_failures(rows: Sequence[dict[str, Any]], num_seeds: int) -> str:
    short = [f"{row['name']} {len(row['values'])}" for row in rows if len(row["values"]) < num_seeds]
    return f"Not all runs were completed: {', '.join(short)} of {num_seeds}." if short else ""


def _show(found: dict[str, Any], path: Path, report: Path) -> None:
    rows = {
        row["name"]: f"{row['mean']:.4f} ± {row['sd'] or 0:.4f}  {params_text(row['params'])}".rstrip()
        for row in found["candidates"]
    }
    commands = {
        "in numbers": typed(SweepFolder(path).confirmation),
        "in the report": typed(report),
        "more seeds": f"finesweep confirm {typed(path)} --seeds {2 * len(found['seeds'])}",
        "the runs": f"finesweep compare {typed(SweepFolder(path).confirm.path)}",
    }
    console.show_summary(f"{path.name}: {found['metric']} over {len(found['seeds'])} seeds", rows, commands)
    console.make_console().print(f"\n{found['words']}", markup=False)
