"""What a notebook has in hand, as what a command line says: settings in dicts, rows in a frame."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from hydra.errors import HydraException

from finesweep.data.convert import as_splits
from finesweep.errors import ConfigError, Fault
from finesweep.system.console import quiet_libraries
from finesweep.system.override_words import key_of, quoted, read_word

Words = Sequence[str | Mapping[str, Any]] | Mapping[str, Any]


def words_of(given: Words) -> list[str]:
    """Return overrides as the words of a command line.

    Args:
        given: a list of words and of dicts such as `{"peft.r": 4}`, or one such dict.

    Raises:
        ConfigError: a lone text, which would be taken letter by letter.
    """
    if isinstance(given, str):
        rule = "Overrides are a list of words."
        raise ConfigError(Fault("overrides", rule, given, fix=f"Put it into brackets: [{given!r}]"))
    if isinstance(given, Mapping):
        return [f"{key}={_value(value)}" for key, value in given.items()]
    return [word for part in given for word in (words_of(part) if isinstance(part, Mapping) else [str(part)])]


def with_data(words: Iterable[str], data: Any) -> list[str]:
    """Write rows beside the outputs, and return the words that read them, before the others.

    A run can be repeated, evaluated and compared as any other; equal rows are written once.

    Args:
        words: the other overrides.
        data: a pandas or polars frame, a `datasets` object, a list of dicts; or a dict of splits of them.

    Raises:
        ConfigError: the words name a data set too.
        DataError: rows that can't be used.
    """
    words = list(words)
    if any(key_of(word) == "data" for word in words):
        rule = "The rows are given as an object, and the words name a data set too."
        raise ConfigError(Fault("data", rule, fix="Leave one of them out."))
    outputs = next((word.partition("=")[2] for word in words if key_of(word) == "output_dir"), "outputs")
    files = _written(data, Path(outputs.strip("'\"")).absolute() / "data")
    return ["data=parquet", *(f"data.source.{name}={_value(file)}" for name, file in files.items()), *words]


def _written(data: Any, place: Path) -> dict[str, Path]:
    """Write each split into a folder that is called by what is in it."""
    quiet_libraries()
    splits = as_splits(data)
    place.mkdir(parents=True, exist_ok=True)
    staging = Path(mkdtemp(dir=place))
    try:
        digest = hashlib.sha256()
        for name, split in splits.items():
            split.to_parquet(staging / f"{name}.parquet")
            digest.update((staging / f"{name}.parquet").read_bytes())
        folder = place / digest.hexdigest()[:16]
        if not folder.exists():
            os.replace(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return {name: folder / f"{name}.parquet" for name in splits}


def _value(value: Any) -> str:
    """Return a value in the grammar of overrides."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if hasattr(value, "item"):  # NumPy's numbers
        return _value(value.item())
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_value(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_value, value))}]"
    text = str(value)
    try:
        is_plain = "${" in text or read_word(f"key={text}").value() == text
    except HydraException:
        is_plain = False
    return text if is_plain else quoted(text)
