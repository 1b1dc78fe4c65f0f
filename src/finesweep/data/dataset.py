"""The data object that the rest of a run works on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from finesweep.data.class_labels import doubts_of_names
from finesweep.data.cleaning import (
    doubts_of_labels,
    doubts_of_rows,
    without_copies,
    without_invalid,
    without_leaks,
)
from finesweep.data.columns import character
from finesweep.data.convert import as_splits
from finesweep.data.labels import MULTI, REGRESSION, SINGLE, TOKENS, LabelReader, LabelSchema, Task
from finesweep.data.repeats import once
from finesweep.data.rows import Rows, read_rows, with_lists
from finesweep.data.sources import hub_commit
from finesweep.data.split_columns import doubts_of_split_columns, with_read_times
from finesweep.data.splits import SplitSettings, limited, make_splits, row_hashes
from finesweep.data.tasks import LabelColumn, LabelSettings, read_labels
from finesweep.data.weights import make_class_weights
from finesweep.errors import DataError, Fault, nearest
from finesweep.system.paths import SPLIT_NAMES

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from finesweep.data.times import Reading

Columns = str | list[str]
Found = TypeVar("Found")


@dataclass(frozen=True)
class TextData:
    """Checked splits.

    Args:
        splits: train, validation and test. Columns: `id` (row number in the source), `text` (or `words`,
            a list of words), `text_pair` for pairs, and `labels`: an id; a list of 0.0 and 1.0 for
            multi-label tasks; a standardised number for regression; an id for each word.
        schema: the label names and ids.
        metrics: the metrics to compute, by name; empty for those that suit the problem type.
        notes: what was decided, dropped or made on the way, to be shown.
        warnings: what is doubtful about the rows.
        class_weights: what each label counts in the loss; None: all the same.
        focal_gamma: of the focal loss; 0: off.
        revision: the hub commit that the rows were read at.
        found: what was computed of the rows already; a copy with other metrics has it too.
    """

    splits: DatasetDict
    schema: LabelSchema
    metrics: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())
    warnings: tuple[str, ...] = field(default=())
    class_weights: tuple[float, ...] | None = None
    focal_gamma: float = 0.0
    revision: str | None = None
    found: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def once(self, name: str, make: Callable[[], Found]) -> Found:
        """Return what is computed of the rows, computed once: a sweep's trials read the same.

        Args:
            name: of it.
            make: computes it; nobody changes it afterwards.
        """
        if name not in self.found:
            self.found[name] = make()
        return self.found[name]

    def contents(self, split: str) -> list[str]:
        """Return the text of each row of a split as one string."""
        part = self.splits[split]
        if "words" in part.column_names:
            return ["\0".join(words) for words in part["words"][:]]
        texts = part["text"][:]
        if "text_pair" not in part.column_names:
            return texts
        return ["\0".join(pair) for pair in zip(texts, part["text_pair"][:], strict=True)]

    def fingerprint(self) -> str:
        """Hash every row of every split, in order, with its label."""
        return self.once("fingerprint", self._fingerprint)

    def row_hashes(self) -> dict[str, list[str]]:
        """Return the hashes of each split's rows, to record which rows were where."""
        splits = map(str, self.splits)
        return self.once("row hashes", lambda: {name: row_hashes(self.contents(name)) for name in splits})

    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for name in sorted(map(str, self.splits)):
            split = self.splits[name]
            digest.update(f"{name} {len(split)}\n".encode())
            for text, label in zip(self.contents(name), split["labels"][:], strict=True):
                encoded = text.encode("utf-8", "surrogatepass")
                shown = self.schema.names[label] if isinstance(label, int) else label
                digest.update(f"{shown}\0{len(encoded)}\0".encode() + encoded)
        return digest.hexdigest()


@once
def load_text_data(
    source: Any,
    text_column: Columns = "text",
    label_column: Columns = "label",
    task: Task = "auto",
    label_names: list[str] | None = None,
    label_delimiter: str | None = None,
    ignore_tags: list[str] | None = None,
    standardize: bool = True,
    metrics: list[str] | Literal["auto"] | None = "auto",
    split: dict | None = None,
    limit: float | None = None,
    eval_limit: float | None = None,
    class_weights: Literal["none", "balanced"] | list[float] = "none",
    focal_gamma: float = 0.0,
    drop_duplicates: bool = False,
    on_invalid: Literal["error", "drop"] = "error",
    on_leak: Literal["error", "drop", "warn"] = "warn",
) -> TextData:
    """Check what a source returned and bring it into train, validation and test.

    Splits that the source has are kept as they are; those it lacks are cut from train, never from
    test. Only texts and labels go on.

    Args:
        source: rows, or splits of rows; see finesweep.data.convert.
        text_column: the column to read; two for pairs; lists of words for token classification.
        label_column: the labels; several columns of 0 and 1 are a multi-label task.
        task: `auto` decides by the labels, and says why.
        label_names: the labels that there are; others in the data are an error. Tags that are whole numbers
            get these names, in the order of the numbers, from 0.
        label_delimiter: between the labels of a text, for multi-label tasks: comma, semicolon, tab, bar, or
            any text.
        ignore_tags: tags of words that don't count, in no loss and no metric; negative numbers never do.
        standardize: regression: train on targets of mean 0 and deviation 1.
        metrics: names from finesweep.metrics, or `auto` for those of the problem type.
        split: see SplitSettings.
        limit: train on so many rows, or this share of them, for learning curves.
        eval_limit: have so many rows, or this share, of validation, and of test.
        class_weights: what each label counts in the loss, in the order of the sorted names; `balanced`: the
            more the rarer it is.
        focal_gamma: focal loss: above 0, rows that are predicted well count less; 2 is common.
        drop_duplicates: keep only the first of rows with the same text and label, in each split.
        on_invalid: `drop` leaves rows without a usable text or label out, and says how many.
        on_leak: what to do about texts that stand in two splits; `drop` takes them out of the one
            that is trained on, so that results on the other stay comparable.

    Raises:
        DataError: everything that is wrong with the rows, at once.
    """
    texts, labels = _names(text_column), _names(label_column)
    settings = SplitSettings.read(split or {})
    limits = {"train": limit, "validation": eval_limit, "test": eval_limit}
    _check_limit("data.limit", limit)
    _check_limit("data.eval_limit", eval_limit)
    given = as_splits(source)
    revision = hub_commit(given)
    extra = {key: name for key in ("group", "time") if (name := getattr(settings, key))}
    _check_columns(given, texts, labels, extra)
    rows = {name: read_rows(part, texts, labels, extra) for name, part in given.items()}
    notes: list[str] = []
    if task in ("auto", "multi-label", "token-classification") and label_delimiter is None:
        rows = with_lists(rows, labels, texts, notes)
    column = LabelColumn.of(given["train"], labels, rows["train"])
    between = character(label_delimiter) if label_delimiter else None
    reader, reason = read_labels(
        rows,
        texts,
        column,
        LabelSettings(task, label_names, between, standardize, ignore_tags or ()),
        on_invalid,
    )
    notes += [reason] if reason else []
    if on_invalid == "drop":
        rows = without_invalid(rows, texts, column.name, reader, notes)
    if drop_duplicates:
        rows = {name: without_copies(part, notes) for name, part in rows.items()}
    rows, reading = with_read_times(rows, settings)
    warnings = [
        *[doubt for name in labels for doubt in doubts_of_names(given, name)],
        *doubts_of_rows(rows),
        *doubts_of_labels(rows, reader),
        *doubts_of_split_columns(rows, settings),
    ]
    if on_leak == "drop":  # what is missing is cut from the rows that stay
        rows = without_leaks(rows, on_leak, notes, warnings)
    splits = _complete(rows, reader, settings, notes, reading)
    splits = without_leaks(splits, on_leak, notes, warnings)
    for name, count in limits.items():
        if count is not None:
            splits[name] = _limit(name, splits[name], reader, count, settings.seed, notes)
    chosen = metrics if isinstance(metrics, list) else ()
    tables = _tables(splits, reader)
    weights = make_class_weights(class_weights, tables["train"]["labels"][:], reader.schema)
    doubts = tuple(warnings)
    return TextData(
        tables, reader.schema, tuple(chosen), tuple(notes), doubts, weights, focal_gamma, revision
    )


def _names(column: Columns) -> list[str]:
    return [column] if isinstance(column, str) else list(column)


def _check_limit(key: str, limit: float | None) -> None:
    if limit is not None and not (limit > 0 and (limit < 1 or float(limit).is_integer())):
        raise DataError(Fault(key, "It is a number of rows, or a share of them below 1.", limit))


def _check_columns(
    splits: Mapping[str, Dataset], texts: Sequence[str], labels: Sequence[str], extra: Mapping[str, str]
) -> None:
    if len(texts) not in (1, 2):
        raise DataError(Fault("data.text_column", "One column of texts, or two for pairs.", texts))
    wanted = [("data.text_column", name) for name in texts] + [("data.label_column", name) for name in labels]
    faults = [
        Fault(key, f"The {split} split has no such column. {nearest(column, part.column_names)}".strip(),
              column, valid=tuple(part.column_names))
        for split, part in splits.items()
        for key, column in [*wanted, *((f"data.split.{k}", c) for k, c in extra.items() if split == "train")]
        if column not in part.column_names
    ]  # fmt: skip
    if faults:
        raise DataError(*faults)


def _complete(
    rows: dict[str, Rows],
    reader: LabelReader,
    settings: SplitSettings,
    notes: list[str],
    reading: Reading | None,
) -> dict[str, Rows]:
    """Cut the splits that are missing from train."""
    wanted = [name for name in ("validation", "test") if name not in rows]
    if not wanted:
        if settings.folds:
            rule = "Folds are made of train's rows, and the source has a validation split of its own."
            raise DataError(Fault("data.split.folds", rule, settings.folds))
        return {name: rows[name] for name in SPLIT_NAMES}
    train = rows["train"]
    strata = reader.strata(reader.encode(train.labels))
    found = make_splits(train, strata, wanted, settings)
    cut = {name: train.select(numbers) for name, numbers in found.items()}
    how = f" by {'time' if settings.time else 'group'}" if settings.time or settings.group else ""
    how += f", read as {reading.name}" if reading and reading.name else ""
    fold = f", fold {settings.fold} of {settings.folds}" if settings.folds else ""
    notes.append(f"{' and '.join(wanted)} cut from train{how}{fold}")
    return {name: {**rows, **cut}[name] for name in SPLIT_NAMES}


def _limit(split: str, rows: Rows, reader: LabelReader, limit: float, seed: int, notes: list[str]) -> Rows:
    if limit >= len(rows):
        return rows
    encoded = reader.encode(rows.labels)
    kept = limited(rows.contents, reader.strata(encoded), limit, seed)
    note = f"{split} limited to {len(kept):,} of {len(rows):,} rows"
    if reader.schema.problem_type == SINGLE:
        found, there = len({encoded[row] for row in kept}), len(set(encoded))
        note += f", with {found} of {there} labels" if found < there else ""
    notes.append(note)
    return rows.select(kept)


def _tables(splits: Mapping[str, Rows], reader: LabelReader) -> DatasetDict:
    from datasets import Dataset, DatasetDict, Features, List, Value

    kinds = {
        SINGLE: Value("int64"),
        MULTI: List(Value("float32")),
        REGRESSION: Value("float32"),
        TOKENS: List(Value("int64")),
    }
    kind = reader.schema.problem_type
    text = {"words": List(Value("string"))} if kind == TOKENS else {"text": Value("string")}
    tables = {}
    for name, rows in splits.items():
        columns = dict(zip((*text, "text_pair"), rows.texts, strict=False))
        features = {"id": Value("int64"), **text, "text_pair": Value("string"), "labels": kinds[kind]}
        content = {"id": rows.ids, **columns, "labels": reader.encode(rows.labels)}
        tables[name] = Dataset.from_dict(content, Features({key: features[key] for key in content}))
    return DatasetDict(tables)
