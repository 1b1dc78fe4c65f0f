"""Texts to token ids: batched, cached by content, padded batch by batch."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import logging
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep.errors import ConfigError, DataError, Fault
from finesweep.system.console import counting
from finesweep.system.paths import HubModel, model_location
from finesweep.tokenization.checks import setting_faults
from finesweep.tokenization.collation import FloatLabels, holds_floats, padding_collator
from finesweep.tokenization.notes import Encoded
from finesweep.tokenization.settings import (
    COLUMNS,
    LongText,
    Padding,
    Pooling,
    Truncation,
    in_windows,
    kind_of,
)

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from transformers import PreTrainedTokenizerBase

    from finesweep.tokenization.batches import BatchEncoder, EncodedBatch
    from finesweep.tokenization.cache import CachedSplits
    from finesweep.tokenization.settings import Kind

logger = logging.getLogger(__name__)
BATCH_ROWS = 1000
CACHE_VERSION = 2


class TextEncoder:
    """A tokenizer and how texts go through it.

    Args:
        name: the model whose tokenizer is used: a hub name, a folder, or `package://...`.
        revision: of the hub's model.
        max_length: tokens in a row, special tokens included.
        padding: batches to their `longest` row, to that rounded up to a `multiple` of 8, or to `max_length`.
        truncation: what goes from a text that is too long: its end (the tokenizer's `truncation_side`), or
            its middle (`head+tail`); of a pair the end of the `longest`, the `first` or the `second`.
        long_text: `truncate`, or `windows`: several rows, which are pooled into one result. Words with tags
            are always read in windows, so that each has a prediction.
        stride: tokens that neighbouring windows share.
        pooling: of the windows' logits.
        collator: a `_partial_` that is called with `tokenizer=`, instead of transformers' collators.
    """

    def __init__(
        self,
        name: HubModel,
        revision: str | None = None,
        max_length: int = 128,
        padding: Padding = "longest",
        truncation: Truncation = "longest",
        long_text: LongText = "truncate",
        stride: int = 32,
        pooling: Pooling = "mean",
        collator: Callable[..., Any] | None = None,
    ) -> None:
        self.name = name
        self.revision = revision
        self.max_length = max_length
        self.padding: Padding = padding
        self.truncation: Truncation = truncation
        self.long_text: LongText = long_text
        self.stride = stride
        self.pooling: Pooling = pooling
        self._collator = collator
        self._labels: Any = None

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer, loaded when it is first needed; a fast one when there is one."""
        tokenizer = self._load()
        if not tokenizer.is_fast:
            logger.info("tokenizer  %s has no fast version; this takes longer", type(tokenizer).__name__)
        return tokenizer

    def encode(self, splits: DatasetDict) -> Encoded:
        """Tokenise every split's `text`, `text` and `text_pair`, or `words`, or take it from the cache.

        Raises:
            ConfigError: `max_length` is beyond what the model can read; settings that exclude each other.
            DataError: words that give no token; pairs of which the part to be kept is too long.
        """
        from finesweep.tokenization import cache as encoding_cache

        kind = kind_of(splits)
        self._make_ready(kind)
        key = encoding_cache.content_key(self._cache_settings(), splits, [*COLUMNS[kind], "labels"])
        entry = encoding_cache.entry(
            key,
            map(str, splits),
            lambda folder: self._write(splits, kind, folder),
        )
        self._labels = next(iter(entry.splits.values())).features["labels"]
        return _encoded(entry, self.tokenizer, self.max_length, windows=in_windows(self, kind))

    def batch_encoder(self, kind: Kind) -> BatchEncoder:
        """Return what turns batches of rows of a kind into token ids.

        Raises:
            ConfigError: as `encode`.
        """
        from finesweep.tokenization.batches import BatchEncoder
        from finesweep.tokenization.cutting import Cut

        self._make_ready(kind)
        from_left = self.tokenizer.truncation_side == "left"
        cut = Cut(self.max_length, self.truncation, in_windows(self, kind), self.stride, from_left)
        return BatchEncoder(self.tokenizer, kind, cut)

    def collator(self) -> Callable[[list[dict[str, Any]]], Any]:
        """Return what makes padded batches of the rows that were encoded last (by default: label ids)."""
        from datasets import Value

        labels = self._labels or Value("int64")
        if self._collator:
            made = self._collator(tokenizer=self.tokenizer)
        else:
            made = padding_collator(self, self.tokenizer, labels)
        return FloatLabels(made) if holds_floats(labels) else made

    @property
    def has_own_collator(self) -> bool:
        """Whether `collator` was given."""
        return self._collator is not None

    def fingerprint(self) -> str:
        """Hash what decides the token ids: the vocabulary, the tokenizer's settings, how texts are cut."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        vocabulary = backend.to_str() if backend else json.dumps(self.tokenizer.get_vocab(), sort_keys=True)
        kind, changed = type(self.tokenizer).__name__, json.dumps(self._changed_settings())
        return _hash(vocabulary, backend is not None, kind, self.max_length, changed)

    def _load(self, **arguments: Any) -> PreTrainedTokenizerBase:
        from transformers import AutoTokenizer

        arguments = {"revision": self.revision, "trust_remote_code": False, **arguments}
        try:
            return AutoTokenizer.from_pretrained(model_location(self.name), **arguments)
        except ValueError as error:
            if "trust_remote_code" not in str(error):
                raise
            rule = "This tokenizer brings Python files of its own, which are never run."
            raise ConfigError(Fault("tokenizer.name", rule, self.name)) from error

    def _start_words_with_space(self) -> None:
        """Make a byte-level tokenizer (RoBERTa's) read a word as one inside a text, not as a word's end."""
        before = self.tokenizer.backend_tokenizer.pre_tokenizer  # type: ignore[attr-defined]
        if getattr(before, "add_prefix_space", None) is False:
            self.tokenizer = self._load(add_prefix_space=True)
            logger.info("tokenizer  loaded with add_prefix_space=True, because the data are words")

    def _changed_settings(self) -> dict[str, Any]:
        parameters = inspect.signature(TextEncoder).parameters
        values = {name: getattr(self, name) for name in ("truncation", "long_text", "stride")}
        return {name: value for name, value in values.items() if value != parameters[name].default}

    def _cache_settings(self) -> str:
        tokenizer = self.tokenizer
        settings = [tokenizer.truncation_side, tokenizer.model_input_names, tokenizer.split_special_tokens]
        return json.dumps([CACHE_VERSION, self.fingerprint(), *settings])

    def _make_ready(self, kind: Kind) -> None:
        if faults := setting_faults(self, kind):
            raise ConfigError(*faults)
        if kind == "words":
            self._start_words_with_space()

    def _write(self, splits: DatasetDict, kind: Kind, folder: Path) -> None:
        from finesweep.tokenization.cache import write_split

        encoder = self.batch_encoder(kind)
        faults = []
        with counting("tokenising", sum(map(len, splits.values()))) as advance:
            for name, split in _by_name(splits):
                schema = encoder.features(split.features["labels"]).arrow_schema
                write_split(folder, name, schema, _batches(encoder, split, schema, advance))
                faults += encoder.faults(name, len(split))
        if faults:
            raise DataError(*faults)


# A sweep's trials have one vocabulary, which takes long to parse; truncation makes a second text of it.
@functools.lru_cache(maxsize=2)
def _hash(vocabulary: str, has_backend: bool, kind: str, max_length: int, changed: str) -> str:
    state = json.loads(vocabulary)
    if has_backend:  # the last call's truncation and padding are no part of the tokenizer
        state |= {"truncation": None, "padding": None}
    settings = [kind, max_length, state]
    if others := json.loads(changed):  # else the hash is that of runs from before there were any
        settings.append(others)
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _by_name(splits: DatasetDict) -> list[tuple[str, Dataset]]:
    return [(str(name), split) for name, split in splits.items()]


def _batches(
    encoder: BatchEncoder, split: Dataset, schema: Any, advance: Callable[[int], None]
) -> Iterator[EncodedBatch]:
    from finesweep.tokenization.cache import batches_of

    for rows in batches_of(split, [*COLUMNS[encoder.kind], "id", "labels"], BATCH_ROWS):
        yield encoder.encode(rows, schema)
        advance(len(rows))


def _encoded(
    entry: CachedSplits, tokenizer: PreTrainedTokenizerBase, max_length: int, *, windows: bool
) -> Encoded:
    import numpy as np

    lengths = np.concatenate(list(entry.lengths.values()))
    one_each = all(len(entry.splits[name]) == len(rows) for name, rows in entry.lengths.items())
    return Encoded(
        splits=entry.splits,
        truncated=0.0 if windows else float((lengths > max_length).mean()),
        from_cache=entry.found,
        documents=None if one_each else entry.documents,
        lengths=entry.lengths,
        covers_95=int(np.quantile(lengths, 0.95, method="inverted_cdf")),
        unknown=_unknown_share(entry, tokenizer),
    )


def _unknown_share(entry: CachedSplits, tokenizer: PreTrainedTokenizerBase) -> float:
    import numpy as np

    unknown: Any = tokenizer.unk_token_id
    if unknown is None:
        return 0.0
    special = [number for number in tokenizer.all_special_ids if number != unknown]
    count = num_tokens = 0
    for split in entry.splits.values():
        for chunk in split.data.column("input_ids").chunks:
            ids = chunk.flatten().to_numpy(zero_copy_only=False)
            count += int((ids == unknown).sum())
            num_tokens += len(ids) - int(np.isin(ids, special).sum())
    return count / num_tokens if num_tokens else 0.0
