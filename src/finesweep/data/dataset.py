"""The data object that the rest of a run works on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from finesweep.data.labels import LabelSchema, build_schema, encode_labels
from finesweep.data.splits import stratified_split
from finesweep.errors import DataError, Fault, nearest

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

EXAMPLES = 5


@dataclass(frozen=True)
class TextData:
    """Checked splits: columns `id` (row number in the source), `text` and `labels` (label id).

    Args:
        splits: train, validation and test.
        schema: the label names and ids.
        metrics: the metrics to compute, by name.
        notes: what was dropped or made on the way, to be shown.
    """

    splits: DatasetDict
    schema: LabelSchema
    metrics: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())

    def fingerprint(self) -> str:
        """Hash every row of every split, in order, with its label name."""
        digest = hashlib.sha256()
        for name in sorted(self.splits):
            split = self.splits[name]
            digest.update(f"{name} {len(split)}\n".encode())
            for text, label in zip(split["text"][:], split["labels"][:], strict=True):
                encoded = text.encode("utf-8", "surrogatepass")
                digest.update(f"{self.schema.names[label]}\0{len(encoded)}\0".encode() + encoded)
        return digest.hexdigest()


def load_text_data(
    source: Dataset | DatasetDict,
    text_column: str = "text",
    label_column: str = "label",
    metrics: list[str] | None = None,
    split: dict | None = None,
    drop_duplicates: bool = False,
) -> TextData:
    """Check what a source returned and bring it into train, validation and test.

    Splits that the source has are kept as they are; those it lacks are cut from train, never from
    test. Only texts and labels go on.

    Args:
        source: rows, or splits of rows.
        text_column: the column to classify.
        label_column: texts, whole numbers, bools, or a ClassLabel.
        metrics: names from finesweep.metrics; accuracy when left out.
        split: `validation` and `test`, the shares of train for splits that are missing, and `seed`.
        drop_duplicates: keep only the first of rows with the same text and label, in each split.

    Raises:
        DataError: a missing column, rows without text or label, unseen labels, an empty split.
    """
    given = _as_splits(source)
    _check_columns(given, {"data.text_column": text_column, "data.label_column": label_column})
    _check_rows(given, text_column, label_column)
    notes: list[str] = []
    if drop_duplicates:
        given = {
            name: _without_copies(part, text_column, label_column, notes) for name, part in given.items()
        }
    schema = build_schema(given["train"], label_column)
    labels = encode_labels(given, label_column, schema)
    tables = {name: _table(part, text_column, labels[name]) for name, part in given.items()}
    return TextData(
        _complete(tables, split or {}, notes), schema, tuple(metrics or ["accuracy"]), tuple(notes)
    )


def _as_splits(source: Any) -> dict[str, Dataset]:
    from datasets import Dataset

    splits = {"train": source} if isinstance(source, Dataset) else source
    if not isinstance(splits, Mapping) or not all(isinstance(part, Dataset) for part in splits.values()):
        rule = f"A source returns a datasets.Dataset or a DatasetDict, not {type(source).__name__}."
        raise DataError(Fault("data.source", rule))
    if "train" not in splits:
        raise DataError(Fault("data.source", "There is no train split.", valid=tuple(splits)))
    for name, part in splits.items():
        if not len(part):
            raise DataError(Fault("data.source", f"The {name} split has no rows."))
    return dict(splits)


def _check_columns(splits: Mapping[str, Dataset], columns: Mapping[str, str]) -> None:
    faults = [
        Fault(key, f"The {name} split has no such column. {nearest(column, part.column_names)}".strip(),
              column, valid=tuple(part.column_names))
        for name, part in splits.items()
        for key, column in columns.items()
        if column not in part.column_names
    ]  # fmt: skip
    if faults:
        raise DataError(*faults)


def _check_rows(splits: Mapping[str, Dataset], text_column: str, label_column: str) -> None:
    faults = []
    for name, part in splits.items():
        texts, labels = part[text_column][:], part[label_column][:]
        problems = {
            "text that is no text": [i for i, text in enumerate(texts) if not isinstance(text, str)],
            "empty text": [i for i, text in enumerate(texts) if isinstance(text, str) and not text.strip()],
            "no label": [i for i, label in enumerate(labels) if label is None or label == ""],
        }
        for problem, rows in problems.items():
            if rows:
                shown = ", ".join(map(str, rows[:EXAMPLES])) + (", ..." if len(rows) > EXAMPLES else "")
                rule = f"{len(rows)} of {len(part)} rows of the {name} split have {problem}: rows {shown}."
                key = "data.label_column" if problem == "no label" else "data.text_column"
                column = label_column if problem == "no label" else text_column
                faults.append(Fault(key, rule, column, fix="Rows count from 0. Correct or remove them."))
    if faults:
        raise DataError(*faults)


def _without_copies(part: Dataset, text_column: str, label_column: str, notes: list[str]) -> Dataset:
    first: dict[tuple[str, Any], int] = {}
    for row, content in enumerate(zip(part[text_column][:], part[label_column][:], strict=True)):
        first.setdefault(content, row)
    if len(first) < len(part):
        notes.append(f"{len(part) - len(first)} duplicate rows dropped")
    return part.select(first.values())


def _table(part: Dataset, text_column: str, labels: list[int]) -> Dataset:
    from datasets import Dataset

    return Dataset.from_dict({"id": range(len(part)), "text": part[text_column][:], "labels": labels})


def _complete(tables: dict[str, Dataset], split: dict[str, Any], notes: list[str]) -> DatasetDict:
    from datasets import DatasetDict

    shares = {name: split.get(name, 0.1) for name in ("validation", "test") if name not in tables}
    if shares:
        train = tables["train"]
        rows = stratified_split(train["text"][:], train["labels"][:], shares, split.get("seed", 0))
        tables = {**tables, **{name: train.select(indices) for name, indices in rows.items()}}
        notes.append(" and ".join(shares) + " cut from train")
    return DatasetDict({name: tables[name] for name in ("train", "validation", "test")})
