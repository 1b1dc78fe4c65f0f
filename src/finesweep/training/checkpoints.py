"""Checkpoints that are known to be whole: sealed with a manifest, verified before they are used."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from finesweep.errors import ConfigError, Fault, TrainingError
from finesweep.system import distributed
from finesweep.system.files import as_umask_says, bring_to_disk, write_json

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
PREFIX = "checkpoint-"
STAGING = ".saving"
OWNER = ".owner.json"
BOUND = "bound.json"
DECISIVE = ("data", "tokenizer", "model", "peft", "trainer", "seed", "speedups", "monitors")
# Keys of a trainer that change what is seen of a training, and nothing of its weights.
WATCHING = ("eval_", "logging_", "save_", "early_stopping_", "per_device_eval_", "dataloader_num_",
            "dataloader_pin_", "dataloader_persistent_", "dataloader_prefetch_")  # fmt: skip

Resume = Literal["strict", "auto"]


@contextmanager
def staged(folder: Path, step: int) -> Iterator[Path]:
    """Let the block write a checkpoint beside its place, from where `put` moves it; if it fails, remove it.

    Args:
        folder: the checkpoints' folder.
        step: the optimizer step that was just done.
    """
    staging = folder / STAGING / f"{PREFIX}{step}"
    if distributed.is_main():
        shutil.rmtree(staging.parent, ignore_errors=True)
        staging.mkdir(parents=True)
    distributed.barrier()  # every process writes
    try:
        yield staging
    except BaseException:
        if distributed.is_main():
            shutil.rmtree(staging.parent, ignore_errors=True)
        raise
    distributed.barrier()


def put(staging: Path, best: int | None = None, bound: dict[str, Any] | None = None) -> Path:
    """Seal a checkpoint that was staged and move it to its place, which is returned.

    Args:
        staging: where its files are.
        best: the step of the best evaluation so far, whose checkpoint this one needs.
        bound: values of the trainer's keys that whoever goes on from here must share.
    """
    folder = staging.parent.parent
    place = folder / staging.name
    try:
        (staging / BOUND).write_text(json.dumps(bound or {}, indent=2) + "\n", encoding="utf-8")
        seal(staging, best)
        if place.exists():  # a damaged one that was passed over
            shutil.rmtree(place)
        os.replace(staging, place)
        bring_to_disk(folder)
    finally:
        shutil.rmtree(staging.parent, ignore_errors=True)
    return place


def seal(folder: Path, best: int | None = None) -> None:
    """Bring a checkpoint's files to the disk, and write its manifest last: the SHA-256 of each."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != MANIFEST)
    for file in files:
        as_umask_says(file)
        bring_to_disk(file)
    digests = {file.relative_to(folder).as_posix(): sha256_of(file) for file in files}
    owner = _read_owner(folder.parent.parent)
    write_json(folder / MANIFEST, {"files": digests, "best": best, **({"owner": owner} if owner else {})})
    bring_to_disk(folder)


def fault_of(folder: Path) -> str:
    """Say what is wrong with a checkpoint, or nothing when every file is as it was sealed."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        expected, best = dict(manifest["files"].items()), manifest["best"]
    except FileNotFoundError:
        return "its manifest is missing"
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return "its manifest is damaged"
    for name, digest in expected.items():
        file = folder / name
        if not file.is_file():
            return f"{name} is missing"
        if sha256_of(file) != digest:
            return f"{name} is damaged"
    if not expected:
        return "its manifest is empty"
    best_one = folder if best is None else path_of(folder.parent, best)
    if best_one.name != folder.name and (fault := fault_of(best_one)):
        return f"of the best one, {best_one.name}, {fault}"
    return ""


def newest_valid(folder: Path, owner: str = "") -> Path | None:
    """Return the newest checkpoint that verifies; those passed over are logged with the reason.

    Args:
        folder: the checkpoints' folder.
        owner: whose config they must be of; left out, anybody's.
    """
    for checkpoint in reversed(all_checkpoints(folder)):
        fault = fault_of(checkpoint) or (_fault_of_owner(checkpoint, owner) if owner else "")
        if not fault:
            return checkpoint
        logger.warning("Passed over %s: %s.", checkpoint.name, fault)
    return None


def config_hash(config: dict[str, Any]) -> str:
    """Hash the parts of a config that decide what its weights become."""
    parts = {key: config[key] for key in DECISIVE if key in config}
    trainer = parts.get("trainer") or {}
    parts["trainer"] = {key: value for key, value in trainer.items() if not key.startswith(WATCHING)}
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def claim(folder: Path, owner: str) -> None:
    """Say whose config the checkpoints are of that will be written from now on.

    Args:
        folder: the checkpoints' folder.
        owner: a hash of the config.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / OWNER, owner)


def to_go_on_from(folder: Path, resume: Resume, owner: str = "") -> Path | None:
    """Return the newest valid checkpoint, or None where training starts at its beginning.

    Args:
        folder: the checkpoints' folder; it may be missing.
        resume: `strict`: a folder that has only damaged ones is an error; `auto`: start afresh then.
        owner: whose config they must be of; left out, anybody's.

    Raises:
        TrainingError: there are checkpoints, and none of them can be used.
    """
    found = newest_valid(folder, owner)
    if found is None and resume == "strict" and (damaged := all_checkpoints(folder)):
        reasons = "; ".join(f"{checkpoint.name}: {fault_of(checkpoint)}" for checkpoint in damaged)
        rule = f"No checkpoint of this run can be used. {reasons}."
        raise TrainingError(Fault(str(folder), rule, fix="To train it from the beginning, add resume=auto."))
    return found


def start_of(own: Path | None, given: str | None, bound: dict[str, Any]) -> Path | None:
    """Return where training starts: the run's own checkpoint, or else the one that the user named.

    Args:
        own: the run's newest valid checkpoint.
        given: `trainer.resume_from_checkpoint`.
        bound: values of the trainer's keys that the checkpoint must have been saved with.

    Raises:
        ConfigError: what the user named isn't a checkpoint of finesweep's, or is damaged; or another value
            was typed than the checkpoint can go on with.
    """
    if own or not given:
        if own:
            _check_bound(own, bound)
        return own
    checkpoint = Path(given).expanduser()
    if fault := fault_of(checkpoint):
        rule = f"This checkpoint can't be used: {fault}."
        fix = "Name a folder checkpoint-N that a run of finesweep has saved."
        raise ConfigError(Fault("trainer.resume_from_checkpoint", rule, given, fix=fix))
    own_alone = ("eval_rows",)  # another run's evaluations are forgotten
    _check_bound(checkpoint, {key: value for key, value in bound.items() if key not in own_alone})
    return checkpoint


def _check_bound(checkpoint: Path, bound: dict[str, Any]) -> None:
    """Refuse values that a checkpoint can't go on with; one from before they were kept is trusted."""
    file = checkpoint / BOUND
    saved = json.loads(file.read_text()) if file.is_file() else {}
    faults = [
        Fault(
            f"trainer.{key}",
            f"{checkpoint} was saved with {old}, and its place in the data, its optimizer and "
            "its best evaluation belong to that.",
            bound[key],
            fix=f"Go on with trainer.{key}={old}, or train from the beginning.",
        )
        for key, old in saved.items()
        if key in bound and bound[key] != old
    ]
    if faults:
        raise ConfigError(*faults)


def verified(folder: Path, step: int) -> Path:
    """Return the checkpoint of a step, once it verifies.

    Raises:
        TrainingError: it is damaged.
    """
    checkpoint = path_of(folder, step)
    if fault := fault_of(checkpoint):
        rule = f"The best checkpoint can't be loaded: {fault}."
        raise TrainingError(Fault(str(checkpoint), rule, fix="Run it again; the disk may be failing."))
    return checkpoint


def check_processes(checkpoint: Path, saved: int, present: int) -> None:
    """Make sure that a run goes on with as many processes as it was saved by: their random states are in it.

    Raises:
        TrainingError: it doesn't.
    """
    if saved != present:
        rule = f"It was saved by a run of {saved} processes; this one has {present}."
        raise TrainingError(Fault(str(checkpoint), rule, fix=f"Start it with --num_processes {saved}."))


def path_of(folder: Path, step: int) -> Path:
    """Return the place of a step's checkpoint."""
    return folder / f"{PREFIX}{step}"


def all_checkpoints(folder: Path) -> list[Path]:
    """Return a run's checkpoints, oldest first."""
    return sorted((path for path in folder.glob(f"{PREFIX}*") if path.is_dir()), key=step_of)


def step_of(checkpoint: Path) -> int:
    """Return the optimizer step that a checkpoint was saved after."""
    return int(checkpoint.name.removeprefix(PREFIX))


def rotate(
    folder: Path, limit: int | None, best: Path | None, *, verify: Callable[[Path], str] = fault_of
) -> None:
    """Remove the oldest checkpoints beyond `limit`; the best, the newest and the newest valid one stay.

    Only as many are verified as it takes to find a valid one: as a rule the newest, which is in memory still.

    Args:
        folder: the checkpoints' folder.
        limit: how many to keep beside the best; None keeps all.
        best: the best checkpoint so far.
        verify: says what is wrong with a checkpoint.
    """
    if limit is None:
        return
    present = all_checkpoints(folder)
    others = [path for path in present if best is None or path.name != best.name]
    removed = others[: max(0, len(others) - max(1, limit))]
    if removed:
        valid = next((path for path in reversed(present) if not verify(path)), None)
        needed = (valid, _best_for(valid)) if valid else ()
        for checkpoint in removed:
            if checkpoint not in needed:
                shutil.rmtree(checkpoint)


def _fault_of_owner(checkpoint: Path, owner: str) -> str:
    """Say that a checkpoint is of another config; one from before they said whose they are is trusted."""
    saved = json.loads((checkpoint / MANIFEST).read_text()).get("owner", owner)
    return "" if saved == owner else "it was trained with another config"


def _read_owner(folder: Path) -> str:
    path = folder / OWNER
    return json.loads(path.read_text()) if path.is_file() else ""


def _best_for(checkpoint: Path) -> Path:
    """Return the best checkpoint that a valid one needs at the end, which may be itself."""
    best = json.loads((checkpoint / MANIFEST).read_text())["best"]
    return checkpoint if best is None else path_of(checkpoint.parent, best)


def sha256_of(file: Path) -> str:
    """Return a file's SHA-256."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
