"""Go on with what was cut off: a sweep, or a single run."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from finesweep.commands.train import train
from finesweep.config.authorship import is_own, with_own
from finesweep.config.origin import Origin
from finesweep.config.replay import give_again
from finesweep.config.saved import read_config
from finesweep.config.trust import strangers
from finesweep.errors import Fault, FinesweepError
from finesweep.runs.anchoring import home_of, working_in
from finesweep.runs.layout import RunFolder
from finesweep.runs.run import run
from finesweep.sweeps import manifest
from finesweep.sweeps.plan import CONFIRM
from finesweep.system.override_words import key_of, parts_of, quoted
from finesweep.system.records import TEXTS, read_yaml
from finesweep.system.redaction import MASK, masked_keys
from finesweep.system.sweep_folder import SweepFolder

RESUME_WORDS = ("resume=auto", "resume=strict")


def resume(path: Path | None, overrides: Sequence[str] = (), trusted: Collection[str] = ()) -> None:
    """Finish a sweep or a run.

    Args:
        path: its folder; the newest unfinished sweep under outputs/sweeps when None.
        overrides: more words for a sweep, such as a larger `n_trials`; for a run, `resume=auto`;
            for both, secrets that were masked when it was saved.
        trusted: targets, beyond finesweep's own, that what was saved may call.

    Raises:
        FinesweepError: there is nothing to resume.
    """
    folder = (path or newest_unfinished(Path("outputs", "sweeps"))).absolute()
    content = manifest.read(folder)
    if content is not None:
        continue_sweep(folder, content, overrides, trusted)
    else:
        _resume_run(RunFolder.open(folder), overrides, trusted)


def continue_sweep(
    folder: Path,
    content: dict[str, Any],
    overrides: Sequence[str],
    trusted: Collection[str],
    call: Callable[[Sequence[str]], None] = train,
) -> None:
    """Call a saved sweep's command line again, where it was called, with more words.

    Args:
        folder: the sweep's.
        content: its manifest.
        overrides: more words.
        trusted: targets, beyond finesweep's own, that what was saved may call.
        call: is given the words.

    Raises:
        FinesweepError: it is a confirmation, or secrets have to be given again.
    """
    if content["settings"].get("purpose") == CONFIRM:
        rule = "This is a confirmation; the sweep that it confirms goes on with it."
        raise FinesweepError(Fault(str(folder), rule, fix=f"finesweep confirm {folder.parent}"))
    names = None if is_own(SweepFolder(folder).manifest) else trusted
    vouched = [word for name in trusted for word in ("--trust", name)]
    with strangers(names), working_in(home_of(folder)):
        words = _words(folder, content, overrides)
        call(["-m", *words, *overrides, f"hydra.sweeper.folder={quoted(folder)}", *vouched])


def newest_unfinished(parent: Path) -> Path:
    """Return the sweep folder that was worked on last and isn't complete."""
    statuses = [status for place in parent.glob("*") if (status := SweepFolder(place).status).is_file()]
    statuses.sort(key=lambda file: file.stat().st_mtime, reverse=True)
    for status in statuses:
        if RunFolder(status.parent).state() not in ("complete", "damaged"):
            return status.parent
    rule = "There is no unfinished sweep."
    raise FinesweepError(Fault(str(parent), rule, fix="Name a folder: finesweep resume FOLDER."))


def _words(folder: Path, content: dict[str, Any], given: Sequence[str]) -> list[str]:
    """Return a sweep's command line, without the secrets in it that are given again."""
    again = {key_of(word) for word in given}
    words = manifest.checked_words(folder, content)
    kept = [word for word in words if MASK not in word or key_of(word) not in again]
    faults = [
        Fault(
            str(SweepFolder(folder).manifest),
            f"{key_of(word)} was masked when this sweep was saved, since it holds a secret.",
            fix=f"Give it again: {key_of(word)}=...",
        )
        for word in kept
        if MASK in word
    ]
    if faults:
        raise FinesweepError(*faults)
    return [*kept, *_without_newer_keys(content, kept)]


def _without_newer_keys(content: dict[str, Any], words: Sequence[str]) -> list[str]:
    """Return the words that take out what conf/ has gained since: the trials to come are as those before."""
    trainer = (content.get("config") or {}).get("trainer") or {}
    is_ours = str(trainer.get("_target_")).startswith("finesweep.training.")
    is_gained = is_ours and "eval_rows" not in trainer and "--config-path" not in words
    mentioned = any(key_of(word).lstrip("+~") == "trainer.eval_rows" for word in words)
    return ["~trainer.eval_rows"] if is_gained and not mentioned else []


def _resume_run(folder: RunFolder, overrides: Sequence[str], trusted: Collection[str]) -> None:
    state = folder.state()
    if state in ("complete", "pruned"):
        raise FinesweepError(Fault(str(folder.path), f"This run is {state}; there is nothing left to do."))
    if state == "running" and (status := folder.read_status()).get("pid") != os.getpid():
        rule = f"This run is running: process {status.get('pid')} on {status.get('host')}."
        fix = f"Stop that process first; if it is no more, remove {folder.status}."
        raise FinesweepError(Fault(str(folder.path), rule, fix=fix))
    config = OmegaConf.create(read_config(folder.config))
    masked = {key.partition("[")[0] for key in masked_keys(OmegaConf.to_container(config))}
    for word in overrides:
        if key_of(word) in masked:
            give_again(config, [word])
        elif word in RESUME_WORDS:
            _, config.resume = parts_of(word)
        else:
            rule = "A run goes on with the config that it has."
            fix = f"What to do without a usable checkpoint is up to you: {' or '.join(RESUME_WORDS)}."
            raise FinesweepError(Fault(word, rule, fix=fix))
    words = read_yaml(folder.overrides, TEXTS)
    origin, home = Origin(path=str(folder.config)), home_of(folder.path)
    with strangers(with_own(trusted, folder.config)), working_in(home):
        run(config, origin=origin, overrides=words, folder=folder, called_in=home)
