"""When Hydra can't compose: find every mistake in the overrides, or mend what was meant."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

from finesweep.config.check import check
from finesweep.config.hydra_insides import read_options
from finesweep.config.hydra_session import compose_named, hydra_at
from finesweep.config.origin import Origin
from finesweep.config.short_keys import SHORT_KEYS, fault_of_short
from finesweep.errors import ConfigError, Fault, nearest
from finesweep.system.override_words import parts_of, read_word
from finesweep.system.paths import FOREIGN_SWEEPS
from finesweep.system.places import PRIMARY, config_folder
from finesweep.system.signatures import Signature, TargetError, signature_of

# In conf/train.yaml's defaults as `optional`, since a method may have no search space.
OPTIONAL_GROUP = "sweeps"
UNPLAIN = set(" ,:=$\\\"'()[]{}")  # what a value in quotes would be read otherwise for, or had to escape


def repair(words: Sequence[str], error: Exception) -> list[str]:
    """Return the command line with `+` where a target accepts a key that its file doesn't list.

    Args:
        words: the command line that Hydra refused.
        error: Hydra's complaint, shown when no better reason is found.

    Raises:
        ConfigError: every mistake in the overrides and in the config they make.
    """
    arguments = read_options(words)
    folder = arguments.config_path or str(config_folder())
    name = arguments.config_name or PRIMARY
    faults: list[Fault] = []
    with hydra_at(folder, arguments.config_dir):
        try:
            parsed = [*_parsed(arguments.overrides, faults)]
            chosen = [o for o in parsed if _is_group(o) and _check_choice(o, faults)]
            base = compose_named(name, [_text(o) for o in chosen])
        except (HydraException, OmegaConfBaseException) as problem:
            raise ConfigError(*(faults or [_as_fault(problem)])) from None
        values = [o for o in parsed if not _is_group(o)]
        multirun = arguments.multirun
        fixed = {_text(o): _repaired(o, base, faults, multirun=multirun) for o in values}
        kept = [word for o in values if not o.is_sweep_override() and (word := fixed[_text(o)])]
        try:
            whole = compose_named(name, [*(_text(o) for o in chosen), *kept])
            choices = {group: str(choice) for group, choice in HydraConfig.get().runtime.choices.items()}
            with open_dict(whole):
                whole.pop("hydra", None)
            check(whole, Origin(choices, tuple(kept)), online=False)
        except ConfigError as more:
            faults += more.faults
        except (HydraException, OmegaConfBaseException) as problem:
            faults += [] if faults else [_as_fault(problem)]
    if faults:
        raise ConfigError(*faults)
    repaired = [fixed.get(word) or word for word in words]
    if repaired == list(words):
        raise ConfigError(_as_fault(error))
    return repaired


def check_optional_choices(overrides: Sequence[str]) -> None:
    """Refuse a `sweeps=` choice that isn't there, which Hydra passes over in silence: the group is optional.

    Raises:
        ConfigError: with the nearest choice.
    """
    faults: list[Fault] = []
    for override in _parsed(overrides, []):
        if override.key_or_group == OPTIONAL_GROUP and _is_group(override):
            _check_choice(override, faults)
    if faults:
        raise ConfigError(*faults)


def _parsed(overrides: Sequence[str], faults: list[Fault]) -> Iterator[Override]:
    for word in overrides:
        try:
            yield read_word(word)
        except HydraException as error:
            rule = f"It can't be read as key=value: {str(error).splitlines()[0]}."
            faults.append(Fault(word, rule, fix=_quoting(word)))


def _quoting(word: str) -> str:
    """Say how a word is quoted; as it is to be typed, where a `~` or an umlaut is its only fault."""
    key, mark, value = word.partition("=")
    is_odd = value.startswith("~") or not value.isascii()
    if mark and is_odd and not set(value) & UNPLAIN and not set(key) & UNPLAIN:
        typed = shlex.quote(f'{key}="{value}"')
        return f"Quote it, for Hydra too: {typed}"
    return "Quote what holds spaces, commas or brackets: 'key=\"a, b\"'."


def _is_group(override: Override) -> bool:
    key = override.key_or_group
    return "." not in key and bool(_loader().get_group_options(key) or _loader().list_groups(key))


def _check_choice(override: Override, faults: list[Fault]) -> bool:
    if override.is_delete() or override.is_sweep_override():
        return not override.is_sweep_override()
    fault = fault_of_choice(override.key_or_group, override.value())
    faults += [fault] if fault else []
    return fault is None


def fault_of_choice(group: str, value: Any) -> Fault | None:
    """Say what is wrong with a group's choice on the command line; None when it is there."""
    options = tuple(option for option in _loader().get_group_options(group) if option not in FOREIGN_SWEEPS)
    if value in options or isinstance(value, list):
        return None
    if value is None:
        rule = "A group is not switched off with null."
        return Fault(group, rule, "null", "command line", options, f"Leave it out: ~{group}")
    rule = f"There is no such choice. {nearest(str(value), options)}".strip()
    fix = f"Files in conf/{group}/, or in a folder given with --config-dir, are choices."
    return Fault(group, rule, value, "command line", options, fix)


def _repaired(override: Override, config: DictConfig, faults: list[Fault], *, multirun: bool) -> str | None:
    """Return the word to use for an override of a value, or None after noting what is wrong with it."""
    text, key = _text(override), override.key_or_group
    if override.is_add() or override.is_force_add() or _exists(config, key):
        return text
    if key in SHORT_KEYS and not override.is_delete():
        value = parts_of(text)[1]
        fault = fault_of_short(key, value, multirun=multirun, is_axis=override.is_sweep_override())
        faults += [fault] if fault else []
        return None if fault else f"{SHORT_KEYS[key]}={value}"
    parent_key, _, name = key.rpartition(".")
    parent = OmegaConf.select(config, parent_key) if parent_key else config
    signature = _signature(parent)
    accepted = tuple(signature.parameters)
    # A reserved key goes on to the check of the whole config, which says what to do instead.
    if (name in accepted or name in signature.reserved) and not override.is_delete():
        return f"+{text}"
    value = override.value() if not override.is_sweep_override() else override.input_line
    faults.append(_unknown_key(key, value, config, parent, accepted))
    return None


def _unknown_key(key: str, value: Any, config: DictConfig, parent: Any, accepted: tuple[str, ...]) -> Fault:
    name = key.rpartition(".")[2]
    listed = [str(sibling) for sibling in parent] if isinstance(parent, DictConfig) else []
    siblings = [s for s in dict.fromkeys([*listed, *accepted]) if not s.startswith("_") and s != "hydra"]
    hint = nearest(name, siblings if "." in key else [*siblings, *SHORT_KEYS])
    if not hint or not siblings:
        plain = OmegaConf.to_container(config, resolve=False)
        keys = [known for known in _all_keys(plain) if not known.startswith("hydra.")]
        by_leaf = {known.rpartition(".")[2]: known for known in reversed(keys)}
        close = nearest(name, by_leaf).removeprefix("Did you mean `").removesuffix("`?")
        hint = f"Did you mean `{by_leaf[close]}`?" if close in by_leaf else nearest(key, keys)
    target = parent.get("_target_") if isinstance(parent, DictConfig) else None
    rule = f"{target} has no argument `{name}`." if target else "The config has no such key."
    return Fault(key, f"{rule} {hint}".strip(), value, "command line", tuple(siblings))


def _signature(node: Any) -> Signature:
    """Return what a node's target accepts; nothing where there is none."""
    if not isinstance(node, DictConfig) or OmegaConf.is_missing(node, "_target_") or not node.get("_target_"):
        return Signature({})
    try:
        return signature_of(str(node._target_))
    except TargetError:  # reported by the check of the whole config
        return Signature({})


def fault_of_key(key: str, config: DictConfig, groups: Mapping[str, Any], value: str) -> Fault | None:
    """Say what is wrong with a key that a sweep is to vary; None when the config or its target knows it.

    Args:
        key: the axis.
        config: the base config.
        groups: config groups, whose names are keys too.
        value: the axis as text, for the message.
    """
    parent_key, _, name = key.rpartition(".")
    parent = OmegaConf.select(config, parent_key) if parent_key else config
    accepted = tuple(_signature(parent).parameters)
    if key in groups or _exists(config, key) or name in accepted:
        return None
    if key in SHORT_KEYS:
        return fault_of_short(key, value, multirun=True, is_axis=True)
    return _unknown_key(key, value, config, parent, accepted)


def _exists(config: DictConfig, key: str) -> bool:
    node: Any = OmegaConf.to_container(config, resolve=False)
    for name in key.split("."):
        if not isinstance(node, dict) or name not in node:
            return False
        node = node[name]
    return True


def _all_keys(node: Any, prefix: str = "") -> Iterator[str]:
    for name, child in node.items() if isinstance(node, dict) else ():
        key = f"{prefix}{name}"
        yield key
        yield from _all_keys(child, f"{key}.")


def _loader() -> Any:
    return GlobalHydra.instance().config_loader()


def _text(override: Override) -> str:
    assert override.input_line is not None
    return override.input_line


def _as_fault(error: Exception) -> Fault:
    first, *rest = str(error).splitlines()
    return Fault("config", first, fix=" ".join(line.strip() for line in rest))


def _as_slip(error: MarkedYAMLError | UnicodeDecodeError, words: Sequence[str]) -> Fault:
    """Say which line of which file YAML can't read."""
    if isinstance(error, UnicodeDecodeError):
        folder = read_options(words).config_dir
        return Fault(str(folder or "config"), "One of its files isn't UTF-8.", fix="Save it as UTF-8.")
    mark, rule = error.problem_mark, f"It can't be read as YAML: {error.problem}."
    if mark is None:
        return Fault("config", rule)
    line = _line_of(mark.name, mark.line)
    shown = f"{line}\n  {' ' * mark.column}^" if line else ""
    fix = "YAML takes no tabs: indent with spaces." if "\\t" in str(error.problem) else ""
    return Fault(f"{mark.name}, line {mark.line + 1}", f"{rule}\n  {shown}".rstrip(), fix=fix)


def _line_of(file: str, number: int) -> str:
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except OSError:  # a text that was no file
        return ""
    return lines[number].replace("\t", " ") if number < len(lines) else ""


T = TypeVar("T")
# How Hydra complains of `group=null`: a plain ValueError.
NULL_GROUP = "Config group override must be a string or a list"


def with_repairs(compose: Callable[[Sequence[str]], T], words: Sequence[str]) -> T:
    """Call what composes a command line; where Hydra can't, try again with the words mended.

    Raises:
        ConfigError: they can't be mended.
    """
    try:
        return compose(words)
    except (MarkedYAMLError, UnicodeDecodeError) as error:
        raise ConfigError(_as_slip(error, words)) from None
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        is_known = isinstance(error, HydraException | OmegaConfBaseException)
        if not is_known and not str(error).startswith(NULL_GROUP):
            raise
        return compose(repair(list(words), error))
