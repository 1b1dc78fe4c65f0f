"""Batches of rows to token ids: sequences, pairs, or words with their tags, cut or in windows."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from finesweep.data.checks import listed
from finesweep.data.labels import IGNORED
from finesweep.errors import Fault
from finesweep.tokenization.cutting import FIRST, SECOND, SPECIAL, Cut, NoRoom
from finesweep.tokenization.settings import COLUMNS, Kind

if TYPE_CHECKING:
    from datasets import Features
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class EncodedBatch:
    """Token ids of a batch of rows.

    Args:
        table: columns `input_ids`, ..., `labels`; one row for each window.
        documents: for each encoded row the row of the batch it comes from.
        lengths: tokens of each row of the batch before it was cut, special tokens included.
    """

    table: pa.Table
    documents: np.ndarray
    lengths: np.ndarray


@dataclass
class BatchEncoder:
    """Encodes batches of rows, and collects the rows that can't be.

    Args:
        tokenizer: a fast one where words have tags.
        kind: what a row is.
        cut: what becomes of long rows.
    """

    tokenizer: PreTrainedTokenizerBase
    kind: Kind
    cut: Cut
    _refused: dict[str, list[int]] = field(default_factory=dict)

    def features(self, labels: Any) -> Features:
        """Return the columns of encoded rows, given the feature of the rows' labels."""
        from datasets import Features, List, Value

        types = {"token_type_ids": List(Value("int8"))} if self._has_types else {}
        labels = List(Value("int64")) if self.kind == "words" else labels
        mask = List(Value("int8"))
        return Features(
            {"input_ids": List(Value("int32")), **types, "attention_mask": mask, "labels": labels}
        )

    def encode(self, rows: pa.Table, schema: pa.Schema) -> EncodedBatch:
        """Encode rows with columns `text`, `text` and `text_pair`, or `words`; and `id` and `labels`."""
        batch = self._tokenize(rows)
        columns = {name: batch[name] for name in ("input_ids", "token_type_ids") if name in schema.names}
        if self.kind == "words":
            columns["labels"] = self._tags(batch, rows)
        lengths = np.fromiter(map(len, columns["input_ids"]), np.int32, len(rows))
        documents = np.arange(len(rows), dtype=np.int32)
        if (lengths > self.cut.max_length).any():
            columns, documents = self._shorten(columns, lengths, batch, rows)
        return EncodedBatch(self._table(columns, documents, rows, schema), documents, lengths)

    def faults(self, split: str, count: int) -> list[Fault]:
        """Return what was wrong with the rows since the last call, for a split of `count` rows."""
        return [_fault(split, count, problem, rows, self.cut) for problem, rows in self.refused().items()]

    def refused(self) -> dict[str, list[int]]:
        """Return the ids of the rows that could not be encoded since the last call.

        Returns:
            `words`: with a word that gives no token; `room`: of which nothing that may be cut is left.
        """
        refused, self._refused = self._refused, {}
        return refused

    @property
    def _has_types(self) -> bool:
        return "token_type_ids" in self.tokenizer.model_input_names

    def _tokenize(self, rows: pa.Table) -> Any:
        texts = [rows[name].to_pylist() for name in COLUMNS[self.kind]]
        return self.tokenizer(
            *texts,
            truncation=False,  # whole first: only so is it known how long a text is
            is_split_into_words=self.kind == "words",
            return_attention_mask=False,
            return_token_type_ids=self._has_types,
            return_special_tokens_mask=not self.tokenizer.is_fast,
            verbose=False,
        )

    def _tags(self, batch: Any, rows: pa.Table) -> list[np.ndarray]:
        """Give each word's tag to its first token, and IGNORED to the others."""
        tagged = []
        tags, ids = rows["labels"].to_pylist(), rows["id"].to_pylist()
        for number, encoding in enumerate(batch.encodings):
            words = np.array([-1 if word is None else word for word in encoding.word_ids], np.int64)
            starts = np.flatnonzero((words >= 0) & (words != np.concatenate([[-1], words[:-1]])))
            labels = np.full(len(words), IGNORED, np.int64)
            if len(starts) == len(tags[number]):
                labels[starts] = tags[number]
            else:
                self._refused.setdefault("words", []).append(ids[number])
            tagged.append(labels)
        return tagged

    def _shorten(
        self, columns: dict[str, list[Any]], lengths: np.ndarray, batch: Any, rows: pa.Table
    ) -> tuple[dict[str, list[Any]], np.ndarray]:
        shortened: dict[str, list[Any]] = {name: [] for name in columns}
        documents: list[int] = []
        for number, length in enumerate(lengths.tolist()):
            if length <= self.cut.max_length:
                documents.append(number)
                for name, values in columns.items():
                    shortened[name].append(values[number])
                continue
            parts = self._parts(batch, number, rows)
            pieces = self._pieces(parts, rows["id"][number].as_py())
            documents.extend(repeat(number, len(pieces)))
            for name, values in columns.items():
                whole = np.asarray(values[number])
                cut = [whole[piece] for piece in pieces]
                shortened[name] += _counted_once(cut, pieces, parts) if name == "labels" else cut
        return shortened, np.array(documents, np.int32)

    def _pieces(self, parts: np.ndarray, row: int) -> list[np.ndarray]:
        try:
            return self.cut.pieces(parts)
        except NoRoom:
            self._refused.setdefault("room", []).append(row)
            return []

    def _parts(self, batch: Any, number: int, rows: pa.Table) -> np.ndarray:
        """Return SPECIAL, FIRST or SECOND for each token of a row."""
        if self.tokenizer.is_fast and self.kind == "pair":
            sequences = batch.encodings[number].sequence_ids
            return np.array([SPECIAL if part is None else part for part in sequences], np.int8)
        if self.tokenizer.is_fast:
            return -np.array(batch.encodings[number].special_tokens_mask, np.int8)
        parts = -np.array(batch["special_tokens_mask"][number], np.int8)
        if self.kind == "pair":  # a slow tokenizer doesn't say where the second sequence begins
            first = self.tokenizer(rows["text"][number].as_py(), add_special_tokens=False, verbose=False)
            parts[np.flatnonzero(parts == FIRST)[len(first["input_ids"]) :]] = SECOND
        return parts

    def _table(
        self, columns: dict[str, list[Any]], documents: np.ndarray, rows: pa.Table, schema: pa.Schema
    ) -> pa.Table:
        arrays = {
            name: pa.array(values, schema.field(name).type)
            for name, values in columns.items()
        }  # fmt: skip
        offsets = arrays["input_ids"].offsets
        ones = pa.array(np.ones(len(arrays["input_ids"].values), np.int8))  # nothing is padded yet
        arrays["attention_mask"] = pa.ListArray.from_arrays(offsets, ones)
        if self.kind != "words":
            arrays["labels"] = rows["labels"].combine_chunks().take(pa.array(documents))
        return pa.Table.from_arrays([arrays[name] for name in schema.names], schema=schema)


def _counted_once(labels: list[np.ndarray], pieces: list[np.ndarray], parts: np.ndarray) -> list[np.ndarray]:
    """Take the labels from tokens that an earlier window has."""
    seen = -1
    for window, piece in zip(labels, pieces, strict=True):
        window[piece <= seen] = IGNORED
        seen = piece[parts[piece] != SPECIAL].max()
    return labels


def _fault(split: str, count: int, problem: str, rows: list[int], cut: Cut) -> Fault:
    shown = listed(rows)
    which = f"{len(rows)} of {count} rows of the {split} split"
    if problem == "words":
        rule = f"{which} have a word that gives no token, such as an invisible character: {shown}."
        return Fault(
            "data.text_column",
            rule,
            fix="Remove these words and their tags, or replace them by a visible one.",
        )
    other = {"first": "second", "second": "first"}.get(cut.truncation, "other")
    over = f" of which windows share {cut.stride} (tokenizer.stride)" if cut.windows else ""
    fills = f"alone fills tokenizer.max_length = {cut.max_length} tokens{over}"
    rule = f"{which} have a {other} text that {fills}: {shown}."
    fix = "Raise it, or cut both texts: tokenizer.truncation=longest tokenizer.long_text=truncate"
    return Fault("tokenizer.truncation", rule, cut.truncation, fix=fix)
