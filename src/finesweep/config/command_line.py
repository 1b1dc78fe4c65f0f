"""The words of a command line: which are Hydra's, which finesweep's, and what they may name."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import OmegaConf

from finesweep.config.authorship import is_own_config
from finesweep.config.hydra_insides import compose_as_main, read_options
from finesweep.config.hydra_session import hydra_at
from finesweep.config.origin import Origin
from finesweep.config.steering import check_defaults, check_hydra, check_searched
from finesweep.config.trust import HYDRA, OWN, vouched
from finesweep.errors import ConfigError, Fault
from finesweep.system.console import be_verbose
from finesweep.system.encoded import check_encoded
from finesweep.system.override_words import parts_of
from finesweep.system.paths import FOREIGN_SWEEPS
from finesweep.system.places import PRIMARY, config_folder
from finesweep.system.records import read_yaml
from finesweep.trackers.choice import spelled_out


def task_overrides() -> tuple[str, ...]:
    """Return the command line's overrides as they were typed, interpolations unresolved."""
    words: Any = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)  # type: ignore[arg-type]
    return tuple(map(str, words))


def check_primary_config(words: Sequence[str]) -> None:
    """Refuse a saved config that would steer Hydra, whose callbacks and loggers run before any job.

    It is composed as Hydra is about to do it, from whatever lies beside it, and nothing of it is used.

    Raises:
        ConfigError: its settings for Hydra are not those of finesweep's own configs.
    """
    given = read_options(words)
    if given.experimental_rerun and HYDRA not in (vouched() or ()):
        rule = "It reads a pickle, which can run code."
        fix = "If you made it: --trust hydra"
        raise ConfigError(Fault("--experimental-rerun", rule, given.experimental_rerun, fix=fix))
    name, primary = given.config_name or PRIMARY, _primary(given)
    content = read_yaml(primary) if primary.is_file() else {}
    check_searched(content)
    with hydra_at(given.config_path or str(config_folder()), given.config_dir):
        try:
            config = compose_as_main(name, given.overrides, multirun=given.multirun)
        except HydraException as error:
            check_defaults(content, str(error))
            raise
    check_hydra(config)


def vouched_in(words: Sequence[str], trusted: Sequence[str], *, is_saved: bool) -> frozenset[str] | None:
    """Return what the user vouches for in what a command line names; None where all of it was typed."""
    if not is_saved:
        return vouched()
    given = read_options(words)
    outer = (vouched() or frozenset()) - {OWN}
    file = _primary(given)
    return outer | set(trusted) | ({OWN} if is_own_config(file) else set())


def _primary(given: argparse.Namespace) -> Path:
    name = (given.config_name or PRIMARY).removesuffix(".yaml")
    return Path(given.config_path or config_folder(), f"{name}.yaml")


def own_options(words: list[str]) -> tuple[list[str], tuple[str, ...], bool]:
    """Take `--trust NAME` and `-v` out, spell Hydra's options out, and say whether a config was named.

    A list of trackers is spelled out; a file that Hydra sees as a choice and that is none is refused.
    """
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--trust", action="append", default=[])
    own.add_argument("-v", "--verbose", action="store_true")
    check_encoded(words)
    known, rest = own.parse_known_args(words)
    if known.verbose:
        be_verbose()
    given = read_options(rest)
    is_saved = given.config_path is not None or given.experimental_rerun is not None
    if given.config_path is not None:
        given.config_path = os.path.abspath(os.path.expanduser(given.config_path))
    _refuse_foreign(given.overrides)
    overrides = given.overrides if is_saved else [*spelled_out(given.overrides)]
    return [*_spelled(given), *overrides], tuple(known.trust), is_saved


def _spelled(given: argparse.Namespace) -> Iterator[str]:
    """Return Hydra's options as whole words, its overrides left out."""
    for name, value in vars(given).items():
        if name == "overrides" or value in (None, False):
            continue
        yield f"--{name.replace('_', '-')}"
        if value is not True:
            yield value


def _refuse_foreign(words: Sequence[str]) -> None:
    for word in words:
        group, choice = parts_of(word)
        if group == "sweeps" and choice in FOREIGN_SWEEPS:
            rule = "This file is for W&B's own sweeps; it is no search space of `python train.py -m`."
            fix = f"wandb sweep sweeps/{choice}.yaml"
            raise ConfigError(Fault(group, rule, choice, "command line", fix=fix))


def origin_of(overrides: tuple[str, ...], is_saved: bool) -> Origin:
    """Return where the values of what Hydra has composed last come from.

    Args:
        overrides: the command line's, as they were typed.
        is_saved: whether a saved config was named.
    """
    runtime = HydraConfig.get().runtime
    if is_saved:
        source = next(source.path for source in runtime.config_sources if source.provider == "main")
        return Origin(overrides=overrides, path=os.path.join(source, "config.yaml"))
    choices = {group: str(choice) for group, choice in runtime.choices.items() if choice is not None}
    given = [str(source.path) for source in runtime.config_sources if source.provider == "command-line"]
    return Origin(choices, overrides, options=("--config-dir", *given) if given else ())
