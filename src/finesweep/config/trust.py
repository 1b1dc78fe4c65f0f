"""What a stranger's folder may do: be data for what finesweep's own configs call, and no more.

A command that reads a saved folder does all of its work inside `strangers(...)`. While that holds, the
places where something could happen ask here: `config.check` and `build.instantiate`, with the very
values that are called; steering.py, with Hydra's own settings, once they are composed; and the opening of
a storage.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, Node, OmegaConf

from finesweep.config.hydra_versions import without_environment
from finesweep.config.omegaconf_insides import bound_interpolations, full_key
from finesweep.config.resolution import check_size
from finesweep.errors import ConfigError, Fault
from finesweep.system.paths import PACKAGE_SCHEME
from finesweep.system.places import config_folder
from finesweep.system.renamed import target_now

# What `--trust` takes beside targets and guarded keys.
HYDRA, ENVIRONMENT, STORAGE, ADDRESS = "hydra", "oc.env", "storage", "url"
JOURNAL = "journal"  # a storage: Optuna's journal, in the sweep's own folder
READER = "reader"
# A file that this user wrote (see authorship.py) may read the environment, name addresses and storages.
OWN = "what this user wrote"
# Arguments through which an allowed target would import code, or send something away.
GUARDED_KEYS = (
    "trust_remote_code",
    "push_to_hub",
    "megatron_core",
    "megatron_config",
    "auto_mapping",
    "deepspeed",
    "function",
    ADDRESS,
    "tracking_uri",
    "_args_",  # finesweep's own configs name their arguments, and so do the guards
)
TARGET_LINE = re.compile(r"^\s*_target_:\s*(\S+)", re.MULTILINE)
# Texts that a tracker puts beside a run: what they take from the environment is left out instead of refused.
LEFT_OUT = "(a stranger's)"
LABEL = re.compile(r"tracker\.(\w+\.)?(group|job_type|tags)\b")
HUB_SOURCE, CARDS = "finesweep.data.sources.hub", ("README.md", ".huggingface.yaml")
URL = re.compile(r"[a-zA-Z][\w+.-]*://")
# Readers of pandas and polars for files that lead to other places, which they name.
LEADING_READERS = re.compile(r"(read|scan)_(iceberg|delta|xml)")
# Nodes that finesweep makes itself, to check what `hydra.sweeper` says.
OWN_TARGETS = {"finesweep.sweeps.plan.Settings"}

_vouched: list[frozenset[str] | None] = [None]


@contextmanager
def strangers(trusted: Collection[str] | None) -> Iterator[None]:
    """Within the block, what is instantiated, resolved and opened may be of a stranger's making.

    Args:
        trusted: targets, guarded keys and `hydra`, `oc.env`, `storage` or `url`, that the user vouches for;
            None where the user has typed all of it.
    """
    bound_interpolations()
    _vouched.append(None if trusted is None else frozenset(trusted))
    try:
        if vouches_for(ENVIRONMENT):
            yield
        else:
            with without_environment(_refuse_environment):
                yield
    finally:
        _vouched.pop()


def vouched() -> frozenset[str] | None:
    """Return what the user vouches for; None where nothing at hand is a stranger's."""
    return _vouched[-1]


def vouches_for(name: str) -> bool:
    """Whether the user vouches for something that an own file may do, and a stranger's may not."""
    trusted = vouched()
    return trusted is None or bool(trusted & {name, OWN})


def is_own_work() -> bool:
    """Whether all that is at hand was typed by the user, now or when a file of theirs was written."""
    return vouches_for(OWN)


def check_trusted(node: Any, key: str = "") -> None:
    """Refuse plain values that would call, import or reach what finesweep's own configs don't.

    Args:
        node: plain values, nothing left to resolve: those that will be instantiated.
        key: where they stand in the config.

    Raises:
        ConfigError: each target, argument or address that is not allowed.
    """
    trusted = vouched()
    if trusted is not None and (faults := [*faults_in(node, key, trusted)]):
        raise ConfigError(*faults)


def check_unresolved(config: Any) -> None:
    """Refuse values that read the environment, before anything is resolved.

    Raises:
        ConfigError: each of them.
    """
    if faults := [*unresolved_faults(config)]:
        raise ConfigError(*faults)


def unresolved_faults(config: Any) -> Iterator[Fault]:
    """Find the values that read the environment."""
    if vouches_for(ENVIRONMENT):
        return
    raw = OmegaConf.to_container(config, resolve=False) if OmegaConf.is_config(config) else config
    rule = "A saved value would read this machine's environment, and may send what it finds away."
    fix = f"If you know where it goes: --trust {ENVIRONMENT}"
    for key, value in leaves(raw):
        if isinstance(value, str) and "${" in value and ENVIRONMENT in value and not LABEL.match(key):
            yield Fault(key, rule, value, fix=fix)


def check_config(config: Any, plain: Any) -> None:
    """Refuse a config of which `check_unresolved` or `check_trusted` refuses something.

    Args:
        config: unresolved.
        plain: its values, with nothing left to resolve.

    Raises:
        ConfigError: each value of both.
    """
    trusted = vouched()
    if trusted is not None and (faults := [*unresolved_faults(config), *faults_in(plain, "", trusted)]):
        raise ConfigError(*faults)


def check_storage(storage: Any, folder: Path) -> None:
    """Refuse a saved sweep's storage that isn't a file in its own folder.

    Args:
        storage: as saved, unresolved: None, `journal`, a URL or a node.
        folder: of the sweep.

    Raises:
        ConfigError: it would be built, or lead elsewhere.
    """
    trusted = vouched()
    if trusted is None or storage in (None, JOURNAL):
        return
    if isinstance(storage, dict | DictConfig):
        check_unresolved(storage)
        check_size(OmegaConf.create(storage))
        check_trusted(OmegaConf.to_container(OmegaConf.create(storage), resolve=True), "storage")
    elif not vouches_for(STORAGE) and not _is_file_in(str(storage), folder):
        rule = "This saved sweep's study lies elsewhere, where a connection would be opened."
        raise ConfigError(
            Fault("storage", rule, storage, fix=f"If you know the place and trust it: --trust {STORAGE}")
        )
    else:
        check_unresolved({"storage": storage})


@cache
def shipped_targets() -> frozenset[str]:
    """Return every `_target_` in finesweep's own config files."""
    files = config_folder().rglob("*.yaml")
    found = {target for file in files for target in TARGET_LINE.findall(file.read_text(encoding="utf-8"))}
    return frozenset(found | OWN_TARGETS) - {"???"}


def targets_in(node: Any) -> frozenset[str]:
    """Return every `_target_` in plain values."""
    return frozenset(str(value) for key, value in leaves(node) if key.rpartition(".")[2] == "_target_")


def to_vouch_for(plain: Any) -> list[str]:
    """Return what `--trust` has to name when a config of plain values is read again by who wrote it."""
    guarded = {part for key, value in leaves(plain) if value for part in key.split(".")}
    return sorted((targets_in(plain) - shipped_targets()) | (guarded & {*GUARDED_KEYS}))


def faults_in(node: Any, key: str, trusted: frozenset[str]) -> Iterator[Fault]:
    """Find what plain values under a key would call, import or reach, and the user doesn't vouch for."""
    if isinstance(node, dict | DictConfig):
        if node.get("_target_") == HUB_SOURCE and not trusted & {ADDRESS, OWN}:
            yield from _faults_of_card(Path(str(node.get("path"))).expanduser(), key)
        for name, child in node.items():
            where = f"{key}.{name}" if key else str(name)
            if name == "_target_" and target_now(str(child)) not in shipped_targets() | trusted:
                rule = "This saved config would call something that finesweep's own configs don't."
                yield Fault(where, rule, child, fix=f"If you know it and trust it: --trust {child}")
            elif name in GUARDED_KEYS and child and name not in trusted:
                rule = "This saved config would run foreign code, or go to another machine."
                yield Fault(where, rule, child, fix=f"If you trust where it leads: --trust {name}")
            elif name == READER and LEADING_READERS.fullmatch(str(child)) and not trusted & {READER, OWN}:
                rule = "This saved config would read files that may lead to another machine."
                yield Fault(where, rule, child, fix=f"If you trust where they lead: --trust {READER}")
            else:
                yield from faults_in(child, where, trusted)
    elif isinstance(node, list | tuple | ListConfig):
        for i, child in enumerate(node):
            yield from faults_in(child, f"{key}[{i}]", trusted)
    elif isinstance(node, str) and not trusted & {ADDRESS, OWN} and _is_address(node):
        rule = "This saved config would go to another machine."
        yield Fault(key, rule, node, fix=f"If you trust where it leads: --trust {ADDRESS}")


def _faults_of_card(folder: Path, key: str) -> Iterator[Fault]:
    """Find the addresses that a local data set's card has as its files: `datasets` would fetch them."""
    for file in (folder / name for name in CARDS):
        head = (
            file.read_text(encoding="utf-8", errors="replace").partition("\n---")[0] if file.is_file() else ""
        )
        if found := URL.search(head):
            rule = f"This saved config's data set would go to another machine: {file} names {found[0]}..."
            yield Fault(f"{key}.path", rule, folder, fix=f"If you trust where it leads: --trust {ADDRESS}")


def _is_address(text: str) -> bool:
    """Whether a text is an address, or a chain of them (`zip://a::https://b`); a sentence isn't."""
    text = text.strip()
    return bool(URL.search(text)) and not text.startswith(PACKAGE_SCHEME) and not any(map(str.isspace, text))


def _is_file_in(storage: str, folder: Path) -> bool:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(storage)
    except ArgumentError:
        return False
    if url.drivername != "sqlite" or url.query or not url.database or "${" in storage:
        return False
    return Path(url.database).resolve().is_relative_to(folder.resolve())


def leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Give every plain value with its full key."""
    if isinstance(node, dict):
        for name, child in node.items():
            yield from leaves(child, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list | tuple):
        for i, child in enumerate(node):
            yield from leaves(child, f"{key}[{i}]")
    else:
        yield key, node


@contextmanager
def unread_environment() -> Iterator[None]:
    """Within the block, what a stranger's config takes from the environment is left out."""
    with without_environment(lambda *_: LEFT_OUT):
        yield


def _refuse_environment(*_: Any, _node_: Node) -> str:
    if LABEL.match(full_key(_node_)):
        return LEFT_OUT
    raise ValueError(f"a saved value reads no environment; if you trust it: --trust {ENVIRONMENT}")
