"""The config of a command line, without running it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finesweep.errors import ConfigError, Fault

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from finesweep.config import Origin


@dataclass(frozen=True)
class Composed:
    """What Hydra makes of a command line.

    Args:
        config: the composed config, Hydra's own node left out.
        origin: where its values come from, for messages.
    """

    config: DictConfig
    origin: Origin


def compose(arguments: Sequence[str]) -> Composed:
    """Compose the config that `python train.py ARGUMENTS` would run.

    Raises:
        ConfigError: every mistake in the overrides, as training reports them; or a sweep is asked for.
    """
    from finesweep import entry
    from finesweep.config import register_resolvers
    from finesweep.trust import check_trusted

    register_resolvers()
    words, trusted, is_saved = entry.own_options(list(arguments))
    _refuse_sweep(words)
    if is_saved:
        entry.check_primary_config(words, trusted)
    config = entry.with_repairs(_compose, words)
    if is_saved:
        check_trusted(config, trusted)
    return Composed(config, entry.origin_of(entry.task_overrides(), is_saved))


def _refuse_sweep(words: Sequence[str]) -> None:
    if {"-m", "--multirun"} & set(words):
        rule = "This looks at one run, and -m asks for many."
        raise ConfigError(Fault("-m", rule, fix="Leave it out, and give each key one value."))


def _compose(words: Sequence[str]) -> DictConfig:
    from hydra._internal.utils import get_args_parser
    from omegaconf import open_dict

    from finesweep import diagnosis
    from finesweep.paths import config_folder

    arguments = get_args_parser().parse_args(list(words))
    with diagnosis.hydra_at(arguments.config_path or str(config_folder()), arguments.config_dir):
        config = diagnosis.compose_named(arguments.config_name or "train", arguments.overrides)
    with open_dict(config):
        config.pop("hydra")
    return config
