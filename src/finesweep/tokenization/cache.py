"""Tokenised splits on disk: found by their content, written whole, read by mapping them into memory."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from finesweep.system.cache import writable
from finesweep.system.places import cache_folder

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from finesweep.tokenization.batches import EncodedBatch

HASHED_ROWS = 10_000
PLACE = "tokenized"  # in the cache


@dataclass(frozen=True)
class CachedSplits:
    """What the cache holds of tokenised splits; see Encoded."""

    splits: DatasetDict
    documents: dict[str, np.ndarray]
    lengths: dict[str, np.ndarray]
    found: bool


def content_key(settings: str, splits: DatasetDict, columns: Iterable[str]) -> str:
    """Hash settings and every row of the given columns, a batch of rows in memory at a time."""
    columns = list(columns)
    digest = hashlib.sha256(settings.encode())
    for name, split in splits.items():
        digest.update(f"{name} {len(split)} {columns}\n".encode())
        for rows in batches_of(split, columns, HASHED_ROWS):
            for column in columns:
                _add(digest, rows[column].combine_chunks())
    return digest.hexdigest()[:32]


def batches_of(split: Dataset, columns: list[str], size: int) -> Iterable[pa.Table]:
    """Return a split's columns as Arrow tables of `size` rows."""
    return split.select_columns(columns).with_format("arrow").iter(size)  # type: ignore[return-value]


def entry(key: str, names: Iterable[str], make: Callable[[Path], None]) -> CachedSplits:
    """Read a cache entry; one that isn't there is first made beside its place and moved there whole.

    Args:
        key: of the entry.
        names: of the splits.
        make: writes all splits into a folder, with `write_split`.
    """
    folder = cache_folder() / PLACE / key
    if not os.path.isdir(folder):
        folder = writable(PLACE) / key
    found = folder.is_dir()
    if not found:
        staging = Path(tempfile.mkdtemp(dir=folder.parent, prefix="staging-"))
        try:
            make(staging)
            os.replace(staging, folder)
        except OSError:
            if not folder.is_dir():  # else another run was first
                raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return _read(folder, names, found)


def write_split(folder: Path, name: str, schema: pa.Schema, batches: Iterable[EncodedBatch]) -> None:
    """Write a split's batches as they come, so that no more than one is in memory."""
    documents, lengths, rows = [], [], 0
    with (
        pa.OSFile(str(folder / f"{name}.arrow"), "wb") as file,
        pa.ipc.new_stream(file, schema) as stream,
    ):
        for batch in batches:
            stream.write_table(batch.table)
            documents.append(batch.documents + np.int32(rows))
            lengths.append(batch.lengths)
            rows += len(batch.lengths)
    np.save(folder / f"{name}.documents.npy", np.concatenate(documents))
    np.save(folder / f"{name}.lengths.npy", np.concatenate(lengths))


def _read(folder: Path, names: Iterable[str], found: bool) -> CachedSplits:
    from datasets import Dataset, DatasetDict

    names = list(names)
    splits = DatasetDict({name: Dataset.from_file(str(folder / f"{name}.arrow")) for name in names})
    documents = {name: np.load(folder / f"{name}.documents.npy") for name in names}
    lengths = {name: np.load(folder / f"{name}.lengths.npy") for name in names}
    return CachedSplits(splits, documents, lengths, found)


def _add(digest: Any, values: Any) -> None:
    """Hash an Arrow array: its type, its nulls, the length of each text or list, and the contents."""
    digest.update(f"{values.type} {values.null_count}\n".encode())
    if values.null_count:
        digest.update(values.is_null().to_numpy(zero_copy_only=False).tobytes())
    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        digest.update(_as_bytes(pc.list_value_length(values)))  # type: ignore[attr-defined]
        _add(digest, values.flatten())
    elif pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        digest.update(_as_bytes(pc.binary_length(values)))  # type: ignore[attr-defined]
        digest.update(_characters(values))
    elif not pa.types.is_null(values.type):
        digest.update(_as_bytes(values))


def _as_bytes(values: Any) -> bytes:
    return values.fill_null(0).to_numpy(zero_copy_only=False).tobytes()


def _characters(texts: Any) -> memoryview:
    """Return the bytes of all texts of an Arrow array, one after the other, without copying them."""
    _, offsets, data = texts.buffers()
    if data is None:
        return memoryview(b"")
    ends = np.frombuffer(offsets, np.int64 if pa.types.is_large_string(texts.type) else np.int32)
    return memoryview(data)[ends[texts.offset] : ends[texts.offset + len(texts)]]
