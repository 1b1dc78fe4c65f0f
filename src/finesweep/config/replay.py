"""Saved configs that run again: secrets that were masked in them are given again, or the run is refused."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from finesweep.errors import ConfigError, Fault, nearest
from finesweep.system.override_words import key_of, read_word
from finesweep.system.redaction import masked_keys


def masked_faults(config: Any, path: str, given: Collection[str] = ()) -> Iterator[Fault]:
    """Find the values of a saved config that were masked, which may not be taken for the values themselves.

    Args:
        config: as it was read; what is an interpolation is found resolved.
        path: the file that it comes from.
        given: keys that are given again on the command line, or with what they stand in.
    """
    for key in dict.fromkeys(key.partition("[")[0] for key in masked_keys(config)):
        if not any(f"{key}.".startswith(f"{name}.") for name in given):
            rule = f"{key} was masked when this run was saved, since it holds a secret."
            fix = f"Give it again: {key}=...   (Next time, {key}='${{oc.env:NAME}}' keeps it out of the way.)"
            yield Fault(path, rule, fix=fix)


def give_again(config: DictConfig, words: Sequence[str]) -> None:
    """Put values that were masked back into a saved config.

    Args:
        config: as it was read; it is changed.
        words: overrides of keys that were masked.

    Raises:
        ConfigError: a word that is no override of such a key: everything else stays as it was saved.
    """
    keys = tuple(key.partition("[")[0] for key in masked_keys(OmegaConf.to_container(config)))
    for word in words:
        key = key_of(word)
        if key not in keys:
            rule = f"What was saved runs as it was saved. {nearest(key, keys)}".strip()
            raise ConfigError(Fault(word, rule, valid=tuple(f"{name}=..." for name in keys)))
        OmegaConf.update(config, key, read_word(word).value())
