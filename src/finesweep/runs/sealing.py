"""What a finished run consists of: the SHA-256 of its files, kept at its end and checked by readers."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from finesweep.config.saved import CIRCUMSTANCES
from finesweep.runs.layout import RunFolder
from finesweep.system.files import write_json
from finesweep.system.records import damaged, read_json, read_yaml
from finesweep.training.checkpoints import sha256_of

FILES = "files.json"
# What a prediction is made from, a comparison, a repetition, and a model card.
CONFIG, ADAPTER_CONFIG = "config.yaml", "adapter_config.json"
MODEL = (CONFIG, "labels.json", "adapter", "backbone", "tokenizer")
RECORDS = (CONFIG, "labels.json", "result.json", "splits.parquet", "predictions")
REPEATED = (CONFIG, "overrides.yaml", "provenance.json", "metrics.jsonl", "adapter")
DESCRIBED = ("result.json", "splits.parquet", "provenance.json")
# Of a config what a user may change after the run: where things are, and who watches.
FREE = (*CIRCUMSTANCES, "data.source", "model.name", "tokenizer.name", "tokenizer.revision", "model.revision")


def seal(folder: RunFolder) -> None:
    """Write files.json: the hash and size of each file of a run that has ended, links left out."""
    known = {CONFIG: _hash_of_content(folder.written, FREE)} if folder.written else {}
    found = {
        name: {
            "sha256": known.get(name) or _hash(folder.path / name),
            "bytes": (folder.path / name).stat().st_size,
        }
        for name in sorted(_own_files(folder.path))
    }
    write_json(folder.path / FILES, {"files": found})


def is_sealed(folder: RunFolder, name: str) -> bool:
    """Whether a file is among those that a run was sealed with; true of a run without files.json."""
    sealed = folder.path / FILES
    return not sealed.is_file() or name in read_json(sealed, {"files": dict})["files"]


def check_seal(folder: RunFolder, parts: tuple[str, ...], by_size: tuple[str, ...] = ()) -> None:
    """Make sure that some of a finished run's files are as they were; a run without files.json isn't checked.

    Args:
        folder: of the run.
        parts: names of files and folders in it.
        by_size: others, of which the sizes are enough.

    Raises:
        DamagedFile: one is missing or is another.
    """
    sealed = folder.path / FILES
    if not sealed.is_file():
        return
    for name, expected in read_json(sealed, {"files": dict})["files"].items():
        if (part := name.partition("/")[0]) in (*parts, *by_size):
            file = folder.path / name
            if not file.is_file():
                raise damaged(file, "missing", folder.path)
            kept = expected if isinstance(expected, dict) else {}
            if part in parts:
                is_same = kept.get("sha256") == _hash(file)
            else:
                is_same = kept.get("bytes") == file.stat().st_size
            if not is_same:
                why = f"not what the run saved; if you changed it, take it out of {FILES}"
                raise damaged(file, why, folder.path)


def _hash(file: Path) -> str:
    """Return a file's SHA-256; of a config's what is not free to change, such as where the backbone lies."""
    if file.name not in (CONFIG, ADAPTER_CONFIG):
        return sha256_of(file)
    if file.name == CONFIG:
        return _hash_of_content(read_yaml(file), FREE)
    return _hash_of_content(read_json(file), ("base_model_name_or_path",))


def _hash_of_content(content: dict[str, Any], free: tuple[str, ...]) -> str:
    """Hash plain values but for those under some dotted keys."""
    kept = copy.deepcopy(content)
    for key in free:
        *parents, name = key.split(".")
        node: Any = kept
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node.pop(name, None)
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()


def _own_files(folder: Path) -> Iterator[str]:
    for part in {*MODEL, *RECORDS, *REPEATED}:
        place = folder / part
        for file in place.rglob("*") if place.is_dir() else (place,):
            if file.is_file() and not file.is_symlink():
                yield file.relative_to(folder).as_posix()
