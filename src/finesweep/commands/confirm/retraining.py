"""Retrain the candidates: a sweep of its own over candidate and seed, beside the one that is confirmed."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from finesweep.commands.compare.groups import Group, read_run
from finesweep.commands.confirm.candidates import DEFAULT, OWN_KEYS, Candidate, Field
from finesweep.commands.report.record import open_study, read_manifest
from finesweep.commands.train import launch
from finesweep.config.authorship import with_own
from finesweep.config.build import build
from finesweep.config.check import check
from finesweep.config.origin import Origin
from finesweep.config.replay import masked_faults
from finesweep.config.saved import HYDRA_SETTINGS, to_yaml
from finesweep.config.short_keys import SHORT_KEYS
from finesweep.config.trust import strangers
from finesweep.errors import Fault, FinesweepError
from finesweep.runs.anchoring import home_of, working_in
from finesweep.runs.layout import RunFolder
from finesweep.runs.unchanged import check_data
from finesweep.sweeps.plan import CONFIRM
from finesweep.sweeps.results import SEED
from finesweep.system.files import write_text
from finesweep.system.folders import make_empty
from finesweep.system.override_words import key_of, parts_of, quoted
from finesweep.system.paths import relative_to_here
from finesweep.system.redaction import masked_keys
from finesweep.system.sweep_folder import SweepFolder

# Where a sweep ran is where it is confirmed.
CARRIED = ("hydra/launcher=", "hydra.launcher.", "hydra.sweeper.n_jobs=", "hydra.sweeper.storage=",
           "hydra.sweeper.processes_per_trial=")  # fmt: skip
# What a word may be about that leaves the configurations alone.
HYDRA_WORD = re.compile(r"hydra\b")
PLACES = ("threads", "tracker", "output_dir")
HEADER = "# Made by `finesweep confirm`.\n"


def retrain(
    path: Path, field: Field, num_seeds: int, overrides: Sequence[str], trusted: Collection[str]
) -> range:
    """Train every candidate with every seed, as far as it isn't done yet; return the seeds.

    Args:
        path: of the sweep.
        field: who is retrained.
        num_seeds: how many seeds; those of an earlier call are kept, and more are added.
        overrides: more words for the command line.
        trusted: targets of the saved configs that the user vouches for.

    Raises:
        FinesweepError: an earlier call had other candidates, or too many runs failed.
    """
    _check_words(field, overrides)
    sweep, folder = SweepFolder(path), SweepFolder(path).confirm
    given = [key_of(word) for word in overrides]
    saved = [_trial(path, one).config for one in field.candidates if one.choice != DEFAULT]
    names = with_own(trusted, sweep.manifest, *saved)
    with strangers(names):
        for one in field.candidates:
            check(OmegaConf.create(one.config), Origin(path=str(path)), online=False)
            if faults := [*masked_faults(_configuration(one), str(path), given)]:
                raise FinesweepError(*faults)
        _check_data(path, field)
    seeds = _seeds(folder, field, num_seeds)
    choices = ",".join(one.choice for one in field.candidates)
    _write_choices(folder.choices, field)
    words = [
        "-m", "--config-dir", str(folder.choices), "--config-name", CONFIRM,
        *_carried(path, field, given),
        f"{SEED}=range({seeds.start},{seeds.stop})", f"candidate={choices}",
        f"hydra.sweeper.folder={quoted(folder.path)}",
        f"hydra.sweeper.study_name={quoted(f'{field.study_name}-{CONFIRM}')}",
        f"hydra.sweeper.n_trials={len(seeds) * len(field.candidates)}", *overrides,
    ]  # fmt: skip
    with strangers(names), working_in(home_of(path)):
        launch(words)
    return seeds


def _check_words(field: Field, overrides: Sequence[str]) -> None:
    """Refuse words that would retrain other configurations than those that the sweep found.

    A secret that was masked when they were saved has to be given again.
    """
    masked = {key for one in field.candidates for key in masked_keys(one.config)}
    rule = "It would change the configurations, and what is retrained is what the sweep found."
    fix = f"Leave it out. What may be given: hydra.sweeper.*, hydra/launcher, {', '.join(PLACES)}."
    if wrong := [
        word
        for word in overrides
        if not HYDRA_WORD.match(key_of(word))
        and key_of(word).partition(".")[0] not in (*PLACES, *SHORT_KEYS)
        and key_of(word) not in masked
    ]:
        raise FinesweepError(*(Fault(key_of(word), rule, parts_of(word)[1], fix=fix) for word in wrong))


def _check_data(path: Path, field: Field) -> None:
    """Refuse data that changed since the winner was trained: on others it could not be confirmed."""
    winner = field.candidates[0]
    folder = _trial(path, winner)
    with working_in(home_of(folder.path)):
        data = build(check(OmegaConf.create(winner.config), Origin(path=str(folder.config)))["data"])
    check_data(folder, data, fix="Or search anew.")


def _trial(path: Path, one: Candidate) -> RunFolder:
    return RunFolder(SweepFolder(path).trial(one.choice.removeprefix("trial-")))


def read_groups(path: Path, field: Field, trusted: Collection[str] = ()) -> list[Group]:
    """Return each candidate's complete runs.

    Raises:
        FinesweepError: a candidate has none.
    """
    folder = SweepFolder(path).confirm
    found: dict[str, list[Any]] = {one.choice: [] for one in field.candidates}
    for trial in open_study(folder.path, read_manifest(folder.path), trusted).get_trials(deepcopy=False):
        if trial.state.name == "COMPLETE":
            run = read_run(RunFolder(folder.trial(trial.number)))
            found[trial.params.get("candidate", field.candidates[0].choice)].append(run)
    for choice, runs in found.items():
        if not runs:
            rule = f"All runs of {choice} failed; {folder.leaderboard} has the errors."
            raise FinesweepError(Fault(str(folder.path), rule))
    return [Group(one.label, one.params, tuple(found[one.choice])) for one in field.candidates]


def _carried(path: Path, field: Field, given: Collection[str]) -> list[str]:
    """Return the sweep's words about where it ran, but for those that are given again."""
    words = [word for word in field.overrides if word.startswith(CARRIED) and key_of(word) not in given]
    faults = masked_faults({key_of(word): word for word in words}, str(SweepFolder(path).manifest))
    if found := [*faults]:
        raise FinesweepError(*found)
    return words


def _seeds(folder: SweepFolder, field: Field, num_seeds: int) -> range:
    """Return seeds that the sweep didn't use; an earlier confirmation's first."""
    first = max(field.seeds) + 1
    seeds = range(first, first + num_seeds)
    if not folder.manifest.is_file():
        return seeds
    words = dict(map(parts_of, map(str, read_manifest(folder.path)["overrides"])))
    before, now = words["candidate"], ",".join(one.choice for one in field.candidates)
    if before != now:
        rule = f"It holds runs of {before}; the sweep's best and its default are {now} by now."
        fix = f"Name them with --top, or put the folder away: mv {folder.path} {folder.path}-before"
        raise FinesweepError(Fault(str(relative_to_here(folder.path)), rule, fix=fix))
    earlier = range(*map(int, words[SEED].removeprefix("range(").removesuffix(")").split(",")))
    # A grid grows at its end, so the trials that are there keep their places.
    return earlier if len(earlier) >= num_seeds else seeds


def _write_choices(place: Path, field: Field) -> None:
    """Write a config whose one choice is the candidate, into a folder where nothing else is."""
    make_empty(place)
    (place / "candidate").mkdir(parents=True, exist_ok=True)
    for one in field.candidates:
        _write(place / "candidate" / f"{one.choice}.yaml", _configuration(one), "# @package _global_\n")
    own = {key: value for key, value in field.base.items() if key in OWN_KEYS}
    own |= {"name": f"{field.study_name}-{CONFIRM}", "threads": "${finesweep.cores:}"}
    defaults = [{"candidate": field.candidates[0].choice}, *HYDRA_SETTINGS["defaults"],
                {"override hydra/sweeper": "finesweep"}, {"override hydra/sweeper/sampler": "grid"},
                {"override hydra/sweeper/pruner": "none"}]  # fmt: skip
    hydra = {**HYDRA_SETTINGS["hydra"], "sweep": {"dir": "."}, "sweeper": {"purpose": CONFIRM}}
    _write(place / f"{CONFIRM}.yaml", {"defaults": defaults, **own, "hydra": hydra})


def _configuration(one: Candidate) -> dict[str, Any]:
    return {key: value for key, value in one.config.items() if key not in OWN_KEYS}


def _write(path: Path, content: dict[str, Any], head: str = "") -> None:
    write_text(path, head + HEADER + to_yaml(content))
