"""Repeat a run from its folder, and compare the two."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from finesweep.config.authorship import with_own
from finesweep.config.origin import Origin
from finesweep.config.replay import give_again
from finesweep.config.saved import read_config
from finesweep.config.trust import strangers
from finesweep.errors import Fault, FinesweepError
from finesweep.runs.anchoring import CALLED_IN, home_of
from finesweep.runs.features import FEATURES
from finesweep.runs.layout import RunFolder
from finesweep.runs.provenance import differences, recorded_speedups
from finesweep.runs.run import run
from finesweep.runs.sealing import REPEATED, check_seal
from finesweep.system.console import make_console
from finesweep.system.programs import train_words
from finesweep.system.records import RESULT, TEXTS, read_json, read_lines, read_yaml
from finesweep.system.redaction.words import masked_command
from finesweep.system.terminal import shortened
from finesweep.training.base import PACKED

# It was tracked when it was packed.
NO_TRACKER = {"_target_": "finesweep.trackers.NoTracker", "_partial_": True}
# How far a packed run's objective may lie from that of the run alone: of its size, where that is above 1.
PACKED_TOLERANCE = 0.05
# Where it was called says nothing of a result; and the features follow from data, model and method.
LEFT_OUT = (CALLED_IN, FEATURES)
SHOWN = 12
SHOWN_CHARACTERS = 60


def reproduce(path: Path, words: Sequence[str] = (), trusted: Collection[str] = ()) -> bool:
    """Run a folder's config again in a new folder, print how the two compare, and return if they are equal.

    Args:
        path: a finished run's folder.
        words: overrides of secrets that were masked when it was saved, and of nothing else.
        trusted: targets, beyond finesweep's own, that its config may call.

    Raises:
        FinesweepError: no run folder, an unfinished run, or a config that isn't trusted.
    """
    before = RunFolder.open(path)
    state = before.state()
    if state != "complete":
        rule = f"Only a complete run can be compared with its repetition; this one is {state}."
        command = masked_command([*train_words(), "--config-path", str(path), "--config-name", "config"])
        fix = f"To run its config: {command}"
        raise FinesweepError(Fault(str(path), rule, fix=fix))
    check_seal(before, REPEATED)
    config = OmegaConf.create(read_config(before.config))
    give_again(config, words)
    overrides = read_yaml(before.overrides, TEXTS)
    origin, home = Origin(path=str(before.config)), home_of(before.path)
    with strangers(with_own(trusted, before.config)):
        result = run(config, origin=origin, overrides=overrides, called_in=home, repeats=before)
    after = RunFolder(result.folder)
    is_packed = PACKED in (recorded_speedups(before.provenance) or ())
    return compare_with_packed(before, after) if is_packed else compare(before, after)


def compare_with_packed(packed: RunFolder, alone: RunFolder) -> bool:
    """Print how a run that trained in a pack and its repetition by itself compare; return if they agree.

    Without dropout they are equal to rounding. With it each has masks of its own, as two seeds have.
    """
    before, after = (read_json(folder.result, RESULT)["objective"] for folder in (packed, alone))
    room = PACKED_TOLERANCE * max(1.0, abs(before["value"]))
    gap = after["value"] - before["value"]
    agrees = abs(gap) <= room
    values = f"{before['metric']} {before['value']:.4f} -> {after['value']:.4f} ({gap:+.4f})"
    make_console().print(
        f"\nIt trained in a pack, and now by itself, with dropout masks of its own: {values}, "
        f"{'within' if agrees else 'NOT within'} {room:g}.",
        markup=False,
    )
    return agrees


def repeat_alone(packed: RunFolder, folder: RunFolder, secrets: Mapping[str, Any]) -> None:
    """Train a run that was packed once more by itself, and test it.

    Args:
        packed: the run.
        folder: of the repetition; where an earlier call was cut off, it goes on.
        secrets: values, by key, that were masked when the run was saved.
    """
    config = OmegaConf.create(read_config(packed.config))
    for key, value in secrets.items():
        OmegaConf.update(config, key, value)
    config.test, config.resume, config.tracker = True, "auto", dict(NO_TRACKER)
    origin, overrides = Origin(path=str(packed.config)), read_yaml(packed.overrides, TEXTS)
    run(config, origin=origin, overrides=overrides, folder=folder, quiet=True, called_in=home_of(packed.path))


def compare(before: RunFolder, after: RunFolder) -> bool:
    """Print what two runs' records differ in, provenance first, and return whether the results are equal."""
    console = make_console()
    provenance = differences(_record(before), _record(after))
    metrics = metric_differences(_metric_lines(before), _metric_lines(after))
    files = differences(weight_hashes(before), weight_hashes(after))
    lines = [""]
    if provenance:
        lines += ["Provenance differs (before -> now):", *_listed(provenance)]
    if metrics:
        lines += [f"{len(metrics)} metrics differ (before -> now):", *_listed(metrics, with_difference=True)]
    if files:
        lines += ["Saved weights differ:", *(f"  {name}" for name, *_ in files)]
    if not metrics and not files:
        count = len(_metric_lines(after))
        lines.append(
            f"Equal to the last bit: {count} lines of metrics, {len(weight_hashes(after))} file of weights."
        )
    console.print("\n".join(lines), markup=False)
    return not metrics and not files


def _record(folder: RunFolder) -> dict[str, Any]:
    return {name: value for name, value in read_json(folder.provenance).items() if name not in LEFT_OUT}


def metric_differences(
    before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> list[tuple[str, Any, Any]]:
    """Return (step and metric, before, after) for every number that differs; timings are left out."""
    found = []
    for i in range(max(len(before), len(after))):
        old = before[i] if i < len(before) else {}
        new = after[i] if i < len(after) else {}
        step = old.get("step", new.get("step"))
        found += [(f"step {step} {name}", a, b) for name, a, b in differences(old, new)]
    return found


def weight_hashes(folder: RunFolder) -> dict[str, str]:
    """Return the SHA-256 of each saved file of weights."""
    files = sorted(folder.adapter.glob("*.safetensors"))
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _metric_lines(folder: RunFolder) -> list[dict[str, Any]]:
    lines = read_lines(folder.metrics)
    return [{name: value for name, value in line.items() if name != "time"} for line in lines]


def _listed(rows: list[tuple[str, Any, Any]], *, with_difference: bool = False) -> list[str]:
    lines = []
    for name, old, new in rows[:SHOWN]:
        gap = f"  ({new - old:+.3g})" if with_difference and _are_numbers(old, new) else ""
        before, now = (shortened(str(value), SHOWN_CHARACTERS) for value in (old, new))
        lines.append(f"  {name}: {before} -> {now}{gap}")
    if len(rows) > SHOWN:
        lines.append(f"  and {len(rows) - SHOWN} more")
    return lines


def _are_numbers(*values: Any) -> bool:
    return all(isinstance(value, int | float) for value in values)
