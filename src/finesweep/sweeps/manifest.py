"""sweep.yaml: what a sweep was asked to do, so that it can be continued and nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from finesweep.config.authorship import marked
from finesweep.config.saved import to_yaml
from finesweep.config.trust import HYDRA, vouched
from finesweep.errors import ConfigError, Fault
from finesweep.runs.anchoring import CALLED_IN, anchored
from finesweep.runs.provenance import differences
from finesweep.sweeps.plan import CONFIRM, OF_THIS_CALL, Plan, space_hash
from finesweep.sweeps.remembered import SHAPE, Remembered, from_manifest
from finesweep.sweeps.space import Space
from finesweep.system.files import write_text
from finesweep.system.folders import check_links
from finesweep.system.override_words import key_of
from finesweep.system.places import PRIMARY, config_folder
from finesweep.system.records import MANIFEST, read_yaml, shaped
from finesweep.system.redaction import MASK, masked
from finesweep.system.redaction.words import masked_words
from finesweep.system.renamed import renamed
from finesweep.system.sweep_folder import SweepFolder
from finesweep.system.version import __version__

# What may change between two calls of one sweep: how much is done, where, and who watches.
FREE_SETTINGS = ("n_trials", "n_jobs", "trials_per_worker", "timeout", "target", "max_failure_rate",
                 "max_retries", "storage", "purpose", "n_startup_trials", "pruner", "prune_by", "memory",
                 "finalists")  # fmt: skip
FREE_KEYS = ("threads", "tracker", "output_dir", "baseline")
REMEMBERED = "remembered"  # which a sweep keeps, whatever becomes of the folders that it was taken from
# Of Hydra's, what a command line that is typed again may hold.
OPTIONS = ("--config-path", "--config-dir", "--config-name")
CARRIED = ("hydra.sweeper.", "hydra/sweeper", "hydra/launcher", "hydra.launcher.", "hydra.mode",
           "hydra.job.chdir")  # fmt: skip
HEADER = "# A sweep's manifest. Continue the sweep:  finesweep resume {folder}\n"


def describe(plan: Plan, overrides: Sequence[str], saved: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest's content, its secrets masked.

    Args:
        plan: the sweep.
        overrides: the command line.
        saved: the base config, without secrets.
    """
    left_out = ("params", *OF_THIS_CALL)
    settings = {name: value for name, value in asdict(plan.settings).items() if name not in left_out}
    own = {f"hydra.sweeper.{name}" for name in OF_THIS_CALL}
    return {
        "finesweep": __version__,
        "sweep_id": plan.sweep_id,
        "config_words": config_words(plan.config),
        CALLED_IN: plan.config.hydra.runtime.cwd,
        "overrides": masked_words([word for word in overrides if key_of(word).lstrip("+") not in own]),
        "study_name": plan.study_name,
        "settings": masked(settings),
        "space": plan.space.describe(),
        "space_hash": space_hash(plan.space, plan.settings.custom_search_space),
        "default": plan.default,
        REMEMBERED: [one.to_manifest() for one in plan.remembered],
        "config": masked(saved),
    }


def config_words(config: DictConfig) -> list[str]:
    """Return the options that named other configs than finesweep's own, so that it can be composed again."""
    words = []
    for source in config.hydra.runtime.config_sources:
        is_main = source.provider == "main" and source.schema == "file"
        if is_main and Path(source.path).resolve() != config_folder().resolve():
            words += ["--config-path", source.path]
        elif source.provider == "command-line":
            words += ["--config-dir", source.path]
    name = config.hydra.job.config_name
    return words if name == PRIMARY else [*words, "--config-name", name]


def config_path(config: DictConfig) -> str:
    """Return the folder of the saved config that is searched around; nothing where it is finesweep's own."""
    words = config_words(config)
    return words[words.index("--config-path") + 1] if "--config-path" in words else ""


def checked_words(folder: Path, content: dict[str, Any]) -> list[str]:
    """Return a saved command line's words: those that a sweep writes down, and no others.

    Raises:
        ConfigError: an option, or a setting for Hydra that could run code.
    """
    options = [str(word) for word in content.get("config_words") or ()]
    overrides = [str(word) for word in content.get("overrides") or ()]
    wrong = [word for word in options[::2] if word not in OPTIONS]
    wrong += [word for word in options[1::2] if word.startswith("-")]
    wrong += [word for word in overrides if not _is_carried(word)]
    trusted = vouched()
    if wrong and trusted is not None and HYDRA not in trusted:
        rule = "This saved command line has words that could make Hydra run code."
        fix = "If you know them and trust them: --trust hydra"
        raise ConfigError(*(Fault(str(SweepFolder(folder).manifest), rule, word, fix=fix) for word in wrong))
    return [*options, *overrides]


def _is_carried(word: str) -> bool:
    key = key_of(word)
    return not word.startswith("-") and (not re.match(r"hydra\b", key) or key.startswith(CARRIED))


def check_same(folder: Path, manifest: dict[str, Any]) -> None:
    """Refuse to continue a sweep with another space, objective or fixed config.

    Raises:
        ConfigError: one fault for each difference.
    """
    before = read(folder)
    if before is None:
        return
    here = Path(manifest[CALLED_IN])  # a manifest from before this was recorded has relative paths
    config: Any = OmegaConf.create(before["config"])
    before["config"] = OmegaConf.to_container(anchored(config, here))
    found = differences(_identity(before), _identity(manifest))
    changed = [one for one in found if MASK not in str(one[1])]  # what was masked can't be compared
    if changed:
        fix = "Give the new sweep a name of its own (name=...), or continue the old one as it was."
        faults = [
            Fault(key, f"This sweep was started with {old}.", new, fix=fix) for key, old, new in changed
        ]
        raise ConfigError(*faults)


def write(folder: Path, manifest: dict[str, Any]) -> None:
    """Write sweep.yaml, whole."""
    folder.mkdir(parents=True, exist_ok=True)
    text = HEADER.format(folder=folder) + to_yaml(manifest)
    write_text(SweepFolder(folder).manifest, marked(text))


def remembered(folder: Path, content: dict[str, Any], space: Space) -> tuple[Remembered, ...]:
    """Return the points of earlier sweeps that a sweep began with.

    Raises:
        DamagedFile: they are none of its space.
    """
    file = SweepFolder(folder).manifest
    return from_manifest(file, shaped(file, content.get(REMEMBERED) or [], SHAPE), space.axes)


def read(folder: Path) -> dict[str, Any] | None:
    """Read sweep.yaml, or return None where there is none.

    Raises:
        FinesweepError: the folder has links that lead out of it.
    """
    path = SweepFolder(folder).manifest
    if not path.is_file():
        return None
    check_links(folder)
    content = renamed(read_yaml(path, MANIFEST))
    return {str(key): value for key, value in content.items()}


def _identity(manifest: dict[str, Any]) -> dict[str, Any]:
    # Through YAML, so that a manifest in memory and one read back compare equal.
    plain = OmegaConf.to_container(OmegaConf.create(to_yaml(manifest)), resolve=False)
    assert isinstance(plain, dict)
    settings = {name: value for name, value in plain["settings"].items() if name not in FREE_SETTINGS}
    config = {name: value for name, value in plain["config"].items() if name not in FREE_KEYS}
    found = {"hydra.sweeper": settings, "config": config}
    # More seeds may be confirmed than at first.
    return found if plain["settings"].get("purpose") == CONFIRM else {**found, "space": plain["space"]}
