"""What a sweep found, in sentences, tables and commands; the page and the Markdown say the same."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finesweep.commands.report.record import SweepRecord
from finesweep.commands.report.trial import TrialRecord
from finesweep.runs.difference import NOT_TOLD, Difference
from finesweep.runs.leaderboard import final_folder
from finesweep.sweeps.results import YES_NO
from finesweep.sweeps.verdict import agrees, over_default
from finesweep.system.console import three_digits
from finesweep.system.programs import train_words
from finesweep.system.sweep_folder import SweepFolder

STATES = {
    "complete": "complete",
    "pruned": "pruned",
    "fail": "failed",
    "running": "running",
    "waiting": "waiting",
}
UNTUNED = "the default"  # as a confirmation calls the config that nobody tuned
VERSIONS = ("torch", "transformers", "peft", "datasets", "accelerate", "optuna", "hydra-core")


@dataclass(frozen=True)
class Words:
    """The parts of a report that need no figure.

    Args:
        verdict: how the winner stands to the config as it stood, in sentences; none without one winner.
        sentences: the summary.
        commands: purpose and command line.
        columns: of the leaderboard.
        rows: of the leaderboard, the ranked trials first: cells, and what each is sorted by.
        failures: error and the numbers of the trials that ended with it.
        provenance: what it ran on.
    """

    verdict: list[str]
    sentences: list[str]
    commands: dict[str, str]
    columns: tuple[str, ...]
    rows: list[list[tuple[str, Any]]]
    failures: list[tuple[str, list[int]]]
    provenance: dict[str, str]


def words_of(sweep: SweepRecord) -> Words:
    """Describe a sweep."""
    columns, rows = _leaderboard(sweep)
    return Words(
        _verdict(sweep),
        _sentences(sweep),
        _commands(sweep),
        columns,
        rows,
        _failures(sweep),
        _provenance(sweep),
    )


def _verdict(sweep: SweepRecord) -> list[str]:
    """Say what is known of the winner: after `finesweep confirm`, what that found."""
    if sweep.confirmation:
        return _confirmed(sweep, sweep.confirmation)
    return [*sweep.verdict.sentences, "Not confirmed with other seeds."] if sweep.verdict else []


def _confirmed(sweep: SweepRecord, found: dict[str, Any]) -> list[str]:
    winner, metric = found["candidates"][0], found["metric"]
    head = f"Confirmed with {len(winner.get('values', []))} fresh seeds: {winner['name']}"
    untuned = {UNTUNED, *(f"trial {trial.number}" for trial in sweep.trials if agrees(trial, sweep.default))}
    gaps = {one["over"]: one for one in found["differences"] if one["low"] is not None}
    over = next((gap for name, gap in gaps.items() if name in untuned), None)
    if winner["name"] in untuned:
        first = f"{head}, the config as it stood, reached {metric} {number(winner['mean'])}."
    elif over is None:
        first = f"{head} reached {metric} {number(winner['mean'])}."
    else:
        gap = Difference(over["mean"], over["low"], over["high"], over["verdict"], over.get("rows", 0))
        first = over_default(head, metric, gap, f"{gap.rows:,} rows")
    near = [name for name, gap in gaps.items() if name not in untuned and gap["verdict"] == NOT_TOLD]
    return [first, f"Not told apart from {', '.join(near)}."] if near else [first]


def _sentences(sweep: SweepRecord) -> list[str]:
    counts = ", ".join(f"{count} {STATES[state]}" for state, count in sweep.counts.items())
    ends = [trial.start + trial.seconds for trial in sweep.trials if trial.start is not None]
    took = f" in {_duration(max(ends))}" if ends else ""
    further = [trial for trial in sweep.trials if trial.repeats is not None]
    search = len(sweep.trials) - len(further)
    said = [f"{search} of {sweep.n_trials} trials{took}: {counts or 'none has started'}."]
    if further:
        names = ", ".join(map(str, sorted({trial.repeats for trial in further if trial.repeats is not None})))
        said.append(f"Further runs with other seeds: {len(further)}, of trials {names}. The best mean wins.")
    best = sweep.best
    if best is None:
        return [*said, "No trial is complete, so there is no best one."]
    if sweep.front:
        return [*said, f"{len(sweep.front)} of them are the Pareto front: none is better in every objective."]
    name = sweep.objectives[0]
    where = f"on the validation split{_with(best.params)}"
    said.append(f"The best, trial {best.number}, reached {name} {best.values[0]:.4f} {where}.")
    if best.alone is not None:
        said.append(
            f"Trained once more alone, after its pack, it reached {best.alone:.4f}: that run is used."
        )
    tested = best.metrics.get(f"test/{name}")
    if tested is not None:
        said.append(f"On the test split, which it alone has read, once: {tested:.4f}.")
    said.append(sweep.yardsticks.sentence() if sweep.yardsticks else "")
    said.append(_against_default(sweep, best))
    if not sweep.confirmed:
        said.append(
            "The best of many is flattered by luck; finesweep confirm tells how much holds with other seeds."
        )
    return [sentence for sentence in said if sentence]


def _against_default(sweep: SweepRecord, best: TrialRecord) -> str:
    first = sweep.trials[0]
    was_default = bool(sweep.default) and sweep.default.items() <= first.params.items()
    if not was_default or first.number == best.number or first.value is None:
        return ""
    note = f", pruned after {len(first.curve)} evaluations" if first.state == "pruned" else ""
    return f"Trial 0, the config as it stood, reached {first.value:.4f}{note}."


def _with(params: dict[str, Any]) -> str:
    shown = ", ".join(f"{name} = {three_digits(value)}" for name, value in params.items())
    return f" with {shown}" if params else ""


def _commands(sweep: SweepRecord) -> dict[str, str]:
    folder, best = shlex.quote(sweep.shown_folder), sweep.best
    found = {}
    if best is not None:
        again = f"run trial {best.number} again" if sweep.front else "run the best again"
        found[again] = f"{shlex.join(train_words())} --config-path {folder} --config-name best"
        trial = final_folder(SweepFolder(Path(sweep.shown_folder)), best.number)
        found["repeat it to the last bit"] = f"finesweep reproduce {shlex.quote(str(trial))}"
        found["predict with it"] = f"finesweep predict {folder} new.csv -o predicted.csv"
        found["look closer at it"] = f"finesweep evaluate {folder}"
        if not sweep.front and not sweep.confirmed:
            found["see if it really wins"] = f"finesweep confirm {folder}"
    if _is_unfinished(sweep):
        found["finish the sweep"] = f"finesweep resume {folder}"
    return found


def _is_unfinished(sweep: SweepRecord) -> bool:
    """Say whether there is something to resume; a sweep writes its report while it still says `running`."""
    ended = sum(trial.state in ("complete", "pruned", "fail") for trial in sweep.trials)
    return sweep.state != "complete" and (sweep.state != "running" or ended < sweep.n_trials)


def _leaderboard(sweep: SweepRecord) -> tuple[tuple[str, ...], list[list[tuple[str, Any]]]]:
    told = ("told apart",) if sweep.verdict and sweep.verdict.told_apart else ()
    own = ("origin",) if any(trial.origin for trial in sweep.trials) else ()
    columns = (
        "trial",
        "state",
        *sweep.objectives,
        *told,
        *sweep.axes,
        "evaluations",
        "trained",
        "seconds",
        *own,
    )
    by_number = {trial.number: trial for trial in sweep.trials}
    rest = [trial for trial in sweep.trials if trial.number not in sweep.order]
    sign = -1 if sweep.maximizes else 1
    rest.sort(key=lambda trial: (trial.value is None, sign * (trial.value or 0), trial.number))
    ordered = [*(by_number[number] for number in sweep.order), *rest]
    last = [[(trial.origin, trial.origin or None)] if own else [] for trial in ordered]
    return columns, [_cells(trial, sweep) + end for trial, end in zip(ordered, last, strict=True)]


def _cells(trial: TrialRecord, sweep: SweepRecord) -> list[tuple[str, Any]]:
    width = "" if trial.half_width is None or len(trial.values) > 1 else f" ± {trial.half_width:.2g}"
    values: list[tuple[str, Any]] = [(f"{value:.4f}{width}", value) for value in trial.values]
    values += [("", None)] * (len(sweep.objectives) - len(values))
    if sweep.verdict and sweep.verdict.told_apart:
        told = YES_NO[sweep.verdict.told_apart.get(trial.number)]
        values.append((told, told or None))
    params = [
        (three_digits(trial.params[axis]), trial.params[axis]) if axis in trial.params else ("", None)
        for axis in sweep.axes
    ]
    trained = (f"{trial.trainable:,}", trial.trainable) if trial.trainable else ("", None)
    return [
        (str(trial.number), trial.number),
        (STATES[trial.state], STATES[trial.state]),
        *values,
        *params,
        (str(len(trial.curve)), len(trial.curve)),
        trained,
        (f"{trial.seconds:.0f}", round(trial.seconds, 1)),
    ]


def _failures(sweep: SweepRecord) -> list[tuple[str, list[int]]]:
    failed = [trial for trial in sweep.trials if trial.state == "fail"]
    errors = Counter(trial.error or "no reason was recorded" for trial in failed)
    return [
        (error, [trial.number for trial in failed if (trial.error or "no reason was recorded") == error])
        for error, _ in errors.most_common()
    ]


def _provenance(sweep: SweepRecord) -> dict[str, str]:
    from shlex import join

    found = {"command": join(["python", "train.py", "-m", *sweep.overrides])}
    took = sweep.best.prediction if sweep.best else {}
    if took.get("texts"):
        each = 1000 * took["seconds"] / took["texts"]
        found["prediction"] = f"{each:.3g} ms a text: the test split's {took['texts']} on a {took['device']}"
    known = sweep.provenance
    if not known:
        return found
    packages, git, hardware = known.get("packages", {}), known.get("git") or {}, known.get("hardware", {})
    versions = {"finesweep": known.get("finesweep"), **{name: packages.get(name) for name in VERSIONS}}
    found["versions"] = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    found["python"] = f"{known.get('python')} on {known.get('platform')}"
    if hardware:
        found["hardware"] = ", ".join(f"{name} {value}" for name, value in hardware.items() if value)
    if git.get("commit"):
        found["commit"] = f"{git['commit']}{' with changes' if git.get('diff') else ''}"
    fingerprints = known.get("fingerprints", {})
    if "data" in fingerprints:
        found["data"] = f"SHA-256 {fingerprints['data'][:16]}..."
    if "model" in fingerprints:
        found["model"] = (
            f"{fingerprints['model']['name']}, SHA-256 {fingerprints['model']['weights'][:16]}..."
        )
    return found


def _duration(seconds: float) -> str:
    """Return "1 h 5 min", "7 min 17 s" or "42 s"."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def number(value: float | None, form: str = ".4f") -> str:
    """Return a number as text; "-" for one that there is none of."""
    return "-" if value is None or math.isnan(value) else format(value, form)


def interval(one: dict[str, Any], form: str = ".4f") -> str:
    """Return "0.9100 to 0.9300"; "-" without an interval."""
    if one["low"] is None or one["high"] is None:
        return "-"
    return f"{number(one['low'], form)} to {number(one['high'], form)}"
