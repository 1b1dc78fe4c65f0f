"""The config of a command line, without running it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finesweep.config import command_line, trust
from finesweep.config.build import register_resolvers
from finesweep.config.check import check
from finesweep.config.command_line import check_primary_config
from finesweep.config.diagnosis import with_repairs
from finesweep.config.hydra_insides import read_options
from finesweep.config.hydra_session import compose_named, hydra_at
from finesweep.errors import ConfigError, Fault
from finesweep.system.places import PRIMARY, config_folder

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from finesweep.config.origin import Origin


@dataclass(frozen=True)
class Composed:
    """What Hydra makes of a command line.

    Args:
        config: the composed config, Hydra's own node left out.
        origin: where its values come from, for messages.
        vouched: what the user vouches for in a saved config; None where there is none.
    """

    config: DictConfig
    origin: Origin
    vouched: frozenset[str] | None = None

    @contextmanager
    def checked(self) -> Iterator[dict[str, Any]]:
        """Check the config; within the block it can be built, and calls what it may.

        Yields:
            its plain values.

        Raises:
            ConfigError: it can't be run, or isn't trusted.
        """
        with trust.strangers(self.vouched):
            yield check(self.config, self.origin)


def compose(arguments: Sequence[str]) -> Composed:
    """Compose the config that `python train.py ARGUMENTS` would run.

    Raises:
        ConfigError: every mistake in the overrides, as training reports them; or a sweep is asked for.
    """
    register_resolvers()
    words, trusted, is_saved = command_line.own_options(list(arguments))
    _refuse_sweep(words)
    vouched = command_line.vouched_in(words, trusted, is_saved=is_saved)
    with trust.strangers(vouched):
        config = with_repairs(_compose, words)
    return Composed(config, command_line.origin_of(command_line.task_overrides(), is_saved), vouched)


def _refuse_sweep(words: Sequence[str]) -> None:
    if "--multirun" in words:
        rule = "This looks at one run, and -m asks for many."
        raise ConfigError(Fault("-m", rule, fix="Leave it out, and give each key one value."))


def _compose(words: Sequence[str]) -> DictConfig:
    from omegaconf import open_dict

    if trust.vouched() is not None:
        check_primary_config(words)
    given = read_options(words)
    with hydra_at(given.config_path or str(config_folder()), given.config_dir):
        config = compose_named(given.config_name or PRIMARY, given.overrides)
    with open_dict(config):
        config.pop("hydra")
    return config
