"""Reading what runs and sweeps saved: whole and of the expected shape, or an error with the file's name."""

from __future__ import annotations

import csv
import itertools
import json
import math
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from finesweep.errors import Fault, FinesweepError
from finesweep.system.sweep_folder import SweepFolder

MOST_NODES = 100_000  # of a YAML file
NUMBER = (int, float, type(None))
TEXTS = [str]
STATUS = {"state": str}
RESULT = {
    "objective": {"metric": str, "value": NUMBER, "direction": str},
    "metrics": dict,
    "parameters": {"trainable": int},
    "timings": dict,
}
LABELS = {"problem_type": str, "names": TEXTS, "values": list}
MANIFEST = {"study_name": str, "settings": {"storage": object}}
PRESENCE = {"host": str, "host_id": str, "space": str, "pid": int, "time": str}
CONFIRMATION = {
    "words": str,
    "metric": str,
    "candidates": [{"name": str, "mean": NUMBER, "sd": NUMBER, "low": NUMBER, "high": NUMBER}],
    "differences": [{"of": str, "over": str, "mean": NUMBER, "low": NUMBER, "high": NUMBER, "verdict": str}],
}
# What brings a file back, where something does; FOLDER is the file's own.
RESUMED = "finesweep resume FOLDER writes it again."
CONFIRMED = "finesweep confirm FOLDER writes it again; without the file the report leaves it out."
COMPARED = "Bring it back from a copy; finesweep compare FOLDER still reads the trials."
FINISHED = "finesweep resume FOLDER finishes what isn't complete; else bring it back from a copy."
OTHERWISE = "Bring it back from a copy, or run it again: train.py --config-path FOLDER --config-name config"
NO_CONFIG = "Bring it back from a copy; without it nothing can be repeated."


class DamagedFile(FinesweepError):
    """A saved file is missing, can't be read, or isn't what it was."""


def damaged(path: Path, why: str, folder: Path | None = None) -> DamagedFile:
    """Return the error for a saved file: what is wrong with it, and what helps.

    Args:
        path: the file.
        why: what follows "This file is".
        folder: of the run or the sweep, where the file isn't at its top.
    """
    place = shlex.quote(str(folder or path.parent))
    return DamagedFile(Fault(str(path), f"This file is {why}.", fix=_help(path).replace("FOLDER", place)))


def _help(path: Path) -> str:
    sweep = SweepFolder(path.parent)
    known = {
        sweep.leaderboard: RESUMED,
        sweep.confirmation: CONFIRMED,
        sweep.manifest: COMPARED,
        sweep.study: COMPARED,
        sweep.status: FINISHED,  # of a run too
        sweep.best: NO_CONFIG,
        path.parent / "config.yaml": NO_CONFIG,
    }
    return known.get(path, OTHERWISE)


def read_json(path: Path, shape: Any = dict) -> Any:
    """Read a JSON file.

    Args:
        path: the file.
        shape: what it must hold: a type or several; a dict of keys that must be there, and their shapes; a
            list with the shape of each member.

    Raises:
        DamagedFile: it is missing, no JSON, or of another shape.
    """
    return shaped(path, _read(path, lambda: json.loads(path.read_text(encoding="utf-8"))), shape)


def read_yaml(path: Path, shape: Any = dict) -> Any:
    """Read a YAML file, its interpolations unresolved; see `read_json`."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    def load() -> Any:
        _check_size(path)
        return OmegaConf.to_container(OmegaConf.load(path), resolve=False)

    return shaped(path, _read(path, load, YAMLError, OmegaConfBaseException, AssertionError), shape)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a file of JSON objects, one on each line; see `read_json`."""

    def load() -> Any:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    return shaped(path, _read(path, load), [dict])


def read_table(path: Path, columns: tuple[str, ...] = ()) -> dict[str, list[Any]]:
    """Read a parquet file's columns as lists; see `read_json`."""
    from pyarrow import ArrowException, parquet

    def load() -> Any:
        return parquet.ParquetFile(path, page_checksum_verification=True).read().to_pydict()

    return shaped(path, _read(path, load, ArrowException), dict.fromkeys(columns, list))


def read_rows(path: Path, columns: tuple[str, ...] = (), most: int | None = None) -> list[dict[str, str]]:
    """Read the rows of a CSV file; see `read_json`.

    Args:
        path: the file.
        columns: that must be there, with a value in each row.
        most: read no more rows than that.
    """

    def load() -> Any:
        with path.open(newline="", encoding="utf-8") as lines:
            reader = csv.DictReader(lines)
            return reader.fieldnames or [], list(itertools.islice(reader, most))

    heading, rows = _read(path, load, csv.Error)
    for column in columns:
        if column not in heading or not all(row[column] for row in rows):
            raise damaged(path, f"damaged: it has no {column}")
    return rows


def _read(path: Path, load: Callable[[], Any], *errors: type[Exception]) -> Any:
    try:
        return load()
    except FileNotFoundError as error:
        raise damaged(path, "missing") from error
    except (PermissionError, MemoryError):
        raise
    except (OSError, ValueError, RecursionError, *errors) as error:
        reason = " ".join(str(error).split())
        raise damaged(path, f"damaged: it can't be read: {reason[:200]}") from error


def _check_size(path: Path) -> None:
    """Refuse a file whose aliases repeat each other until they fill the memory, or hold themselves."""
    import yaml

    text = path.read_text(encoding="utf-8")
    if "*" not in text or "&" not in text:  # finesweep itself writes no aliases
        return
    sizes: dict[int, float] = {}

    def size(node: Any) -> float:
        if id(node) not in sizes:
            sizes[id(node)] = math.inf  # should it hold itself
            inner = node.value if isinstance(node, yaml.CollectionNode) else ()
            parts = [part for one in inner for part in (one if isinstance(one, tuple) else (one,))]
            sizes[id(node)] = 1 + sum(map(size, parts))
        return sizes[id(node)]

    if size(yaml.compose(text, Loader=yaml.SafeLoader)) > MOST_NODES:
        raise ValueError("its aliases repeat each other without end, or nearly so")


def shaped(path: Path, content: Any, shape: Any) -> Any:
    """Return what a file holds, if it has a shape; see `read_json`."""
    if fault := _fault(content, shape):
        raise damaged(path, f"damaged: {fault}")
    return content


def _fault(content: Any, shape: Any, where: str = "") -> str:
    """Say what about some content isn't of a shape, or nothing."""
    kind = dict if isinstance(shape, dict) else list if isinstance(shape, list) else shape
    if not isinstance(content, kind):
        return f"{where or 'it'} can't be {_short(content)}"
    if isinstance(shape, dict):
        missing = next((key for key in shape if key not in content), None)
        if missing is not None:
            return f"{where or 'it'} has no {missing}"
        faults = (_fault(content[key], part, key) for key, part in shape.items())
    else:
        members = content if isinstance(shape, list) else ()
        faults = (_fault(member, shape[0], f"a member of {where or 'it'}") for member in members)
    return next((fault for fault in faults if fault), "")


def _short(content: Any) -> str:
    text = repr(content)
    return text if len(text) <= 40 else f"{text[:37]}..."
