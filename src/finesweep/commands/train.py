"""The command line of `python train.py` and `finesweep train`: Hydra's, with errors one can act on."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from finesweep.commands.reporting import reported_errors
from finesweep.config.build import register_resolvers
from finesweep.config.command_line import (
    check_primary_config,
    origin_of,
    own_options,
    task_overrides,
    vouched_in,
)
from finesweep.config.diagnosis import with_repairs
from finesweep.config.hydra_insides import hide_choices, read_options
from finesweep.config.hydra_versions import main_options
from finesweep.config.trust import strangers, vouched
from finesweep.errors import ConfigError, Fault
from finesweep.system import distributed
from finesweep.system.paths import FOREIGN_SWEEPS
from finesweep.system.places import PRIMARY, config_folder
from finesweep.system.processes import end_quickly
from finesweep.system.redaction import redact_tracebacks, redacted_output, remember
from finesweep.system.redaction.words import typed_secrets
from finesweep.system.terminal import speak_any_locale

# Of this process's command line; a sweep's workers have none.
_options: dict[str, Any] = {"is_saved": False}


def train(arguments: Sequence[str] | None = None) -> None:
    """Run Hydra's command line on finesweep's config.

    Args:
        arguments: the words after the command; sys.argv's when left out.
    """
    distributed.start_missing()
    speak_any_locale()
    end_quickly()
    redact_tracebacks()
    with reported_errors():
        launch(sys.argv[1:] if arguments is None else arguments)


def launch(arguments: Sequence[str]) -> None:
    """Do what `train` does, and let a user's mistake travel.

    Raises:
        FinesweepError: it, from a sweep; a single run reports its own and exits.
    """
    register_resolvers()
    words, trusted, is_saved = own_options(list(arguments))
    given = read_options(words)
    if given.multirun and (given.cfg or given.info):
        rule = f"--{'cfg' if given.cfg else 'info'} shows what one config is, and -m asks for many."
        raise ConfigError(Fault("-m", rule, fix="Leave -m out, and give each key one value."))
    is_around_saved = given.multirun and is_saved
    if is_around_saved and not any(word.startswith("hydra/sweeper=") for word in given.overrides):
        words.append("hydra/sweeper=finesweep")
    remember(typed_secrets(words))
    _options.update(is_saved=is_saved)
    with (
        redacted_output(),
        strangers(vouched_in(words, trusted, is_saved=is_saved)),
        _own_sweeper() if is_around_saved else nullcontext(),
    ):
        with_repairs(_call_hydra, words)


@contextmanager
def _own_sweeper() -> Iterator[None]:
    """Show Hydra finesweep's sweeper around a saved config, beside which it finds none of its choices."""
    from hydra.core.config_store import ConfigStore

    root, store = config_folder(), ConfigStore.instance()
    before = copy.deepcopy(store.repo)
    for file in (root / "hydra" / "sweeper").rglob("*.yaml"):
        group = file.parent.relative_to(root).as_posix()
        store.store(file.stem, OmegaConf.load(file), group, provider="finesweep")
    try:
        yield
    finally:
        store.repo = before


def job(config: DictConfig) -> float | list[float]:
    """Execute one composed config: a single run, or the current trial of a sweep.

    Returns:
        The objective; one value for each objective where a sweep has several.
    """
    from finesweep.sweeps.trial import current_trial

    trial = current_trial()
    if trial is not None:
        from finesweep.sweeps.job import run_trial

        return run_trial(config, trial)
    from finesweep.config.diagnosis import check_optional_choices
    from finesweep.runs.anchoring import anchored_saved, working_in
    from finesweep.runs.run import run

    is_saved = bool(_options["is_saved"])
    with reported_errors():
        overrides = task_overrides()
        check_optional_choices(overrides)
        origin, here = origin_of(overrides, is_saved), Path(HydraConfig.get().runtime.cwd)
        if is_saved:
            with working_in(here):
                config = anchored_saved(config, Path(origin.path).parent, overrides)
        return run(config, origin=origin, overrides=overrides, called_in=here).objective


def _call_hydra(words: Sequence[str]) -> None:
    if vouched() is not None:
        check_primary_config(words)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us instead of to Hydra's own printer
    hide_choices(FOREIGN_SWEEPS)
    typed, sys.argv = sys.argv, [sys.argv[0], *words]
    try:
        hydra.main(config_path=str(config_folder()), config_name=PRIMARY, **main_options())(job)()
    finally:
        sys.argv = typed
