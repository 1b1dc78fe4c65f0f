"""The secrets that this process knows: values of the environment, and of its config under secrets' names."""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, quote_plus

from finesweep.system.places import config_folder
from finesweep.system.redaction.names import is_secret_name, may_be_secret_name
from finesweep.system.redaction.patterns import MASK, looks_random

SHORTEST = 8  # what is shorter is masked where its key says so, not wherever its letters stand
SHORTEST_WORD = 4
LONGEST_PLAIN = 12
PATH = re.compile(r"(?:~|\.{0,2})(?:/[\w.\-]+){2,}/?")  # /home/me/key.json, whether it is there or not
_remembered: set[str] = set()


def remember(secrets: Iterable[str]) -> None:
    """Mask these values, too, in everything that this process says from now on."""
    _remembered.update(secret for secret in secrets if secret)


def known() -> frozenset[str]:
    """Return every secret that is known by its value."""
    return environment_secrets() | _remembered


def environment_secrets() -> frozenset[str]:
    """Return the values of the environment that are masked wherever they stand in a text.

    The variable's name has to say so, and the value has to look like a secret. With a name such as MY_PASS
    or HF_TOKEN (`is_secret_name`), that is any text of 8 characters or more but a number, a path, one short
    word of letters, and the name of a choice among finesweep's own configs, such as bbc-news. With a name
    that may mean something else, such as DATASET_KEY, it must look random. Shorter values are masked where
    they stand under a secret's key, and as a tracker's label.
    """
    return frozenset(value for name, value in os.environ.items() if _is_environment_secret(name, value))


def is_distinct(value: str) -> bool:
    """Say whether a secret can be masked wherever it stands: nothing else would be written like it."""
    return len(value) >= SHORTEST and not _is_plain(value)


def mask_known(text: str, secrets: Iterable[str]) -> str:
    """Mask secrets wherever they stand, in each way that they are spelled: quoted, escaped, line by line."""
    pattern = _pattern(frozenset(secrets))
    return pattern.sub(MASK, text) if pattern else text


def mask_words(text: str, secrets: Iterable[str]) -> str:
    """Mask secrets of any length where they stand as words of their own."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(secret)}(?![A-Za-z0-9])", MASK, text)
    return text


def short_environment_secrets() -> frozenset[str]:
    """Return the values under secrets' names that are too short, or too plain, to be masked everywhere."""
    named = frozenset(value for name, value in os.environ.items() if value and is_secret_name(name))
    return frozenset(value for value in named if not is_path(value))


def is_path(value: str) -> bool:
    """Say whether a value names a file: a secret's place, not the secret."""
    if "/" not in value or "\0" in value:
        return False
    return bool(PATH.fullmatch(value) and not looks_random(value)) or _exists(value)


@lru_cache(4096)
def _is_environment_secret(name: str, value: str) -> bool:
    if is_secret_name(name):
        return is_distinct(value) and not is_path(value)
    return may_be_secret_name(name) and looks_random(value) and not is_path(value)


def _exists(value: str) -> bool:
    try:
        return Path(value).exists()
    except (OSError, ValueError):
        return False


def _is_plain(value: str) -> bool:
    is_number = value.replace(".", "", 1).replace("-", "", 1).isdigit() and len(value) < LONGEST_PLAIN
    is_word = value.isalpha() and len(value) < LONGEST_PLAIN
    return is_number or is_word or value in _choices()


@lru_cache(1)
def _choices() -> frozenset[str]:
    """Return the names of the choices among finesweep's own configs."""
    return frozenset(file.stem for file in config_folder().glob("*/**/*.yaml"))


@lru_cache(64)
def _pattern(secrets: frozenset[str]) -> re.Pattern[str] | None:
    whole = {spelling for secret in secrets if is_distinct(secret) for spelling in _spellings(secret)}
    codes = {secret for secret in secrets if _is_short_code(secret)}
    parts = [re.escape(spelling) for spelling in sorted(whole, key=len, reverse=True)]
    parts += [rf"(?<!\w){re.escape(code)}(?!\w)" for code in sorted(codes, key=len, reverse=True)]
    return re.compile("|".join(parts)) if parts else None


def _is_short_code(secret: str) -> bool:
    """Say whether a short secret can be told from words and numbers: it has letters and something else."""
    has_letters, is_word = any(map(str.isalpha, secret)), secret.isalpha()
    return SHORTEST_WORD <= len(secret) < SHORTEST and has_letters and not is_word and not _is_plain(secret)


def _spellings(secret: str) -> Iterator[str]:
    lines = [line.strip() for line in secret.splitlines()]
    for text in dict.fromkeys((secret, secret.strip(), *lines)):
        if len(text) >= SHORTEST:
            yield from (text, repr(text)[1:-1], json.dumps(text)[1:-1], html.escape(text))
            yield from (json.dumps(text, ensure_ascii=False)[1:-1], quote(text, safe=""), quote_plus(text))
            yield from (text.replace("'", "''"), text.replace("'", "\\'"), text.replace("'", "'\"'\"'"))
            yield text.replace('"', '\\"')
