"""Keys that were added to the config, and that nothing in it reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from finesweep.config.origin import UNRESOLVED, Origin
from finesweep.errors import Fault, nearest
from finesweep.system.override_words import key_of
from finesweep.system.places import PRIMARY, config_folder

# Groups whose choice is made into one object.
MADE = ("data", "tokenizer", "model", "peft", "trainer")


def unread_faults(config: DictConfig, origin: Origin) -> Iterator[Fault]:
    """Find top-level keys that are neither finesweep's own nor named by an interpolation: `+trainerr.lr=3`.

    A saved config has keys whose interpolations are resolved by now; there only what is typed is judged.

    Args:
        config: composed, unresolved.
        origin: where its values come from.
    """
    values, groups = _known_keys()
    typed = {key: key.partition(".")[0] for key in map(key_of, origin.overrides)}
    is_composed = not origin.path and not origin.choices.keys().isdisjoint(groups)
    added = [str(key) for key in config if key not in (*values, *groups, "hydra")]
    text = OmegaConf.to_yaml(config) if added else ""
    for key in added:
        is_typed = key in typed.values()
        if not (is_composed or is_typed) or re.search(rf"\$\{{\.*{re.escape(key)}\b", text):
            continue
        where = next((full for full, top in typed.items() if top == key), key)
        rule = f"Nothing in the config reads it. {nearest(key, (*values, *groups))}".strip()
        fix = f"A value that others are made of is named by them: trainer.learning_rate='${{{key}}}'"
        yield Fault(where, rule, source="command line" if is_typed else "", valid=(*values, *groups), fix=fix)


def shape_faults(plain: dict[str, Any], origin: Origin) -> list[Fault]:
    """Find groups whose choice is a file that holds a list or a word, where keys and values belong."""
    found = []
    for group in _known_keys()[1]:
        value = plain.get(group)
        if value is None or value is UNRESOLVED:
            continue
        if not isinstance(value, dict):
            kind = "a list" if isinstance(value, list) else "one value"
            rule = f"Its choice is {kind}; keys and their values belong there, one `key: value` a line."
        elif group in MADE and "_target_" not in value:
            rule = "Its choice has no _target_, which says what is made of its keys."
        else:
            continue
        choice = origin.choices.get(group, group)
        found.append(Fault(group, rule, value, fix=f"Mend the choice's file: {group}/{choice}.yaml"))
    return found


@cache
def _known_keys() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the keys of conf/train.yaml, and the groups beside it."""
    folder = config_folder()
    own = yaml.safe_load((folder / f"{PRIMARY}.yaml").read_text(encoding="utf-8"))
    groups = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name != "hydra")
    return tuple(key for key in own if key not in ("defaults", "hydra")), tuple(groups)
