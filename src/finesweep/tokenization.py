"""Texts to token ids: batched, cached by content, padded batch by batch."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep.errors import ConfigError, Fault
from finesweep.paths import PACKAGE_SCHEME, HubModel, cache_folder, input_path

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from transformers import DataCollatorWithPadding, PreTrainedTokenizerBase

BATCH_ROWS = 1000
CACHE_VERSION = 1


@dataclass(frozen=True)
class Encoded:
    """Token ids of all splits (columns `input_ids`, `attention_mask`, ..., `labels`), and what was cut.

    Args:
        splits: one row for each text, in order.
        truncated: share of texts longer than `max_length`, over all splits.
        from_cache: whether an earlier run had made them.
    """

    splits: DatasetDict
    truncated: float
    from_cache: bool


class TextEncoder:
    """A tokenizer and how texts go through it.

    Args:
        name: the model whose tokenizer is used: a hub name, a folder, or `package://...`.
        revision: of the hub's model.
        max_length: tokens kept of each text, special tokens included.
    """

    def __init__(self, name: HubModel, revision: str | None = None, max_length: int = 128) -> None:
        self.name = name
        self.revision = revision
        self.max_length = max_length

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer, loaded when it is first needed; a fast one when there is one."""
        from transformers import AutoTokenizer

        location = str(input_path(self.name)) if self.name.startswith(PACKAGE_SCHEME) else self.name
        return AutoTokenizer.from_pretrained(location, revision=self.revision, trust_remote_code=False)

    def encode(self, splits: DatasetDict) -> Encoded:
        """Tokenise every split's `text`, or take the result from the cache.

        Raises:
            ConfigError: `max_length` is beyond what the model can read.
        """
        self._check_length()
        folder = cache_folder() / "tokenized" / self._cache_key(splits)
        cached = _load(folder)
        if cached:
            return cached
        encoded = self._encode(splits)
        _store(encoded, folder)
        return encoded

    def collator(self) -> DataCollatorWithPadding:
        """Return the collator that pads each batch to its longest row."""
        from transformers import DataCollatorWithPadding

        return DataCollatorWithPadding(self.tokenizer)

    def fingerprint(self) -> str:
        """Hash what decides the token ids: the vocabulary, the tokenizer's own settings, max_length."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        vocabulary = backend.to_str() if backend else json.dumps(self.tokenizer.get_vocab(), sort_keys=True)
        state = json.loads(vocabulary)
        if backend:  # the last call's truncation and padding are no part of the tokenizer
            state |= {"truncation": None, "padding": None}
        settings = [type(self.tokenizer).__name__, self.max_length, state]
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    def _check_length(self) -> None:
        limit = self.tokenizer.model_max_length
        if not 0 < self.max_length <= limit:
            rule = f"It must be between 1 and what the model reads: {limit} tokens."
            raise ConfigError(Fault("tokenizer.max_length", rule, self.max_length))

    def _cache_key(self, splits: DatasetDict) -> str:
        digest = hashlib.sha256(f"{CACHE_VERSION} {self.fingerprint()}".encode())
        for name, split in splits.items():
            digest.update(f"{name} {len(split)}\n".encode())
            for text, label in zip(split["text"][:], split["labels"][:], strict=True):
                encoded = text.encode("utf-8", "surrogatepass")
                digest.update(f"{label} {len(encoded)}\0".encode() + encoded)
        return digest.hexdigest()[:32]

    def _encode(self, splits: DatasetDict) -> Encoded:
        cut = 0

        def tokenize(rows: dict[str, Any]) -> dict[str, Any]:
            nonlocal cut
            batch = self.tokenizer(rows["text"], truncation=True, max_length=self.max_length)
            if batch.encodings:
                cut += sum(bool(encoding.overflowing) for encoding in batch.encodings)
            else:  # a slow tokenizer doesn't say what it cut: count the texts that fill max_length
                cut += sum(len(ids) == self.max_length for ids in batch["input_ids"])
            return dict(batch)

        encoded = splits.map(
            tokenize,
            batched=True,
            batch_size=BATCH_ROWS,
            remove_columns=["id", "text"],
            load_from_cache_file=False,
            keep_in_memory=True,
        )
        return Encoded(encoded, cut / sum(len(split) for split in splits.values()), from_cache=False)


def _load(folder: Path) -> Encoded | None:
    from datasets import load_from_disk

    if not folder.is_dir():
        return None
    truncated = json.loads((folder / "truncated.json").read_text())
    return Encoded(load_from_disk(str(folder)), truncated, from_cache=True)  # type: ignore[arg-type]


def _store(encoded: Encoded, folder: Path) -> None:
    """Write the cache entry beside its place and move it there whole; another run may be first."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=folder.parent, prefix="staging-"))
    try:
        encoded.splits.save_to_disk(str(staging))
        (staging / "truncated.json").write_text(json.dumps(encoded.truncated))
        os.replace(staging, folder)
    except OSError:
        shutil.rmtree(staging, ignore_errors=True)
        if not folder.is_dir():
            raise


def truncation_note(encoded: Encoded, max_length: int) -> str:
    """Say how much of the texts the model won't see."""
    return f"{encoded.truncated:.0%} of the texts are cut at {max_length} tokens"


def split_sizes(splits: DatasetDict | dict[str, Dataset]) -> str:
    """Return "1,703 train, 212 validation, 212 test"."""
    return ", ".join(f"{len(split):,} {name}" for name, split in splits.items())
