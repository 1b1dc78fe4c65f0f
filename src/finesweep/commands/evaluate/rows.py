"""The rows that a finished run is held against: a split of its own data, other data, or a file."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep.commands.predict import inputs
from finesweep.config.build import build
from finesweep.config.compose import compose
from finesweep.data import load_text_data, sources
from finesweep.data.class_labels import decoded
from finesweep.data.columns import character
from finesweep.data.labels import IGNORED, PROBLEM_TYPES, REGRESSION, SINGLE, TOKENS
from finesweep.data.sources.files import kind_of
from finesweep.errors import DataError, Fault, nearest
from finesweep.runs.anchoring import anchored_saved, home_of, working_in
from finesweep.runs.evaluation import truth_of
from finesweep.runs.unchanged import check_data
from finesweep.system.paths import typed
from finesweep.system.redaction.words import masked_words

if TYPE_CHECKING:
    from datasets import Dataset

    from finesweep.data import TextData
    from finesweep.runs.saved import SavedRun

READERS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".parquet": "parquet",
}
# Which of the settings of a run's own files each reader takes.
SETTINGS = {
    "csv": ("delimiter", "quote", "encoding", "types", "decimal", "multiline"),
    "tsv": ("quote", "encoding", "types", "decimal", "multiline"),
    "json": ("encoding",),
    "parquet": (),
}
TYPE_NAMES = {str: "string", bool: "bool", int: "int", float: "float"}
LABELLED = "a row that has a label"


@dataclass(frozen=True)
class LabelledRows:
    """Rows whose labels are known.

    Args:
        name: what they are, for people.
        ids: their numbers in the source.
        columns: their texts; both texts of pairs; lists of words for tokens.
        truth: as Scored.truth has it, in the run's label ids.
        notes: what was left out on the way.
        counted: of tokens, which words count, for each row.
    """

    name: str
    ids: list[int]
    columns: tuple[list[Any], ...]
    truth: Any
    notes: tuple[str, ...] = ()
    counted: list[list[bool]] | None = None

    def words(self, row: int) -> list[str]:
        """Return the words of a row that count."""
        counted = self.counted[row] if self.counted else [True] * len(self.columns[0][row])
        return [word for word, counts in zip(self.columns[0][row], counted, strict=True) if counts]


def of_split(
    run: SavedRun,
    split: str,
    overrides: Sequence[str] = (),
    trusted: Collection[str] = (),
    *,
    changed: bool = False,
) -> LabelledRows:
    """Read a split as the run did, or from other data.

    Args:
        run: which.
        split: train, validation or test.
        overrides: of its config's data.
        trusted: targets, beyond finesweep's own, that its config may call.
        changed: take data that are not those that the run was trained with.

    Raises:
        FinesweepError: the data can't be read, are others, or have labels that the run doesn't know.
    """
    words = ["--config-path", str(run.folder.path), "--config-name", "config", *overrides]
    words += [word for name in trusted for word in ("--trust", name)]
    composed = compose(words)
    config = anchored_saved(composed.config, run.folder.path, overrides)
    composed = replace(composed, config=config, origin=replace(composed.origin, reads=("data",)))
    with working_in(None if overrides else home_of(run.folder.path)), composed.checked() as plain:
        data: TextData = build(plain["data"])
    if not overrides and not changed:
        way = f"finesweep evaluate {typed(run.folder.path)} --changed"
        check_data(run.folder, data, fix=f"To evaluate it on these all the same: {way}")
    others = f" with {' '.join(masked_words(overrides))}" if overrides else ""
    return _rows(run, data, split, f"{split} split{others}{' of changed data' if changed else ''}")


def of_file(run: SavedRun, path: Path) -> LabelledRows:
    """Read a file with the columns that the run was trained on; rows without a label or text are left out.

    Raises:
        FinesweepError: no such file or column, or labels that the run doesn't know.
    """
    reader = READERS.get(kind_of(path))
    if reader is None:
        raise DataError(Fault(str(path), "A file's ending says what it is.", valid=tuple(READERS)))
    known = {key: value for key, value in run.file_settings.items() if key in SETTINGS[reader]}
    if reader in ("csv", "tsv"):
        known["types"] = _types_of_run(run, path, known)
    rows = getattr(sources, reader)(train=str(path), **known)["train"]
    _check_columns(run, path, rows.column_names)
    rows = _with_classes(run, rows)
    settings = {
        key: run.setting(f"data.{key}")
        for key in ("text_column", "label_column", "label_delimiter")
        if run.setting(f"data.{key}") is not None
    }
    if run.setting("data.ignore_tags"):
        settings["ignore_tags"] = run.setting("data.ignore_tags")
    if run.is_tokens and not _has_classes(run):
        settings["label_names"] = list(run.schema.names)
    task: Any = next(name for name, kind in PROBLEM_TYPES.items() if kind == run.schema.problem_type)
    # It is all one split: what the others hold plays no part, but that train has to have every label.
    splits = {"train": _with_every_label(run, rows), "validation": rows, "test": rows}
    data = load_text_data(splits, task=task, on_invalid="drop", **settings)
    found = _rows(run, data, "test", path.name)
    dropped = len(rows) - len(found.ids)
    notes = (f"{dropped} of {len(rows)} rows left out: no usable text or label",) if dropped else ()
    return replace(found, notes=notes)


def _types_of_run(run: SavedRun, path: Path, settings: dict[str, Any]) -> dict[str, str]:
    """Return the types that the run's columns had, whatever the rows of this file look like."""
    text = {key: settings[key] for key in ("delimiter", "encoding") if settings.get(key)}
    header = inputs.file(path, quote=settings.get("quote", '"'), **text).columns
    types = dict.fromkeys(run.text_columns, "string")
    column, values = run.setting("data.label_column", "label"), run.schema.values
    if run.schema.problem_type == REGRESSION:
        types |= {column: "float"}
    elif run.schema.problem_type == SINGLE and not _has_classes(run):
        types |= {column: TYPE_NAMES[type(values[0])]}
    types |= settings.get("types") or {}
    return {name: type_ for name, type_ in types.items() if name in header}


def _check_columns(run: SavedRun, path: Path, columns: Sequence[str]) -> None:
    """Make sure that a file has the columns that the run read.

    Raises:
        DataError: with those that it has.
    """
    given = run.setting("data.label_column", "label")
    needed = (*run.text_columns, *([given] if isinstance(given, str) else given))
    if missing := [name for name in needed if name not in columns]:
        rule = f"There is no column `{missing[0]}`, which the run read. {nearest(missing[0], columns)}"
        raise DataError(Fault(str(path), rule.strip(), valid=tuple(columns), fix="Give it the run's names."))


def _with_every_label(run: SavedRun, rows: Dataset) -> Dataset:
    """Add rows with all labels that the run knows, or two numbers: a file may have few of them, even one."""
    import pyarrow as pa
    from datasets import Dataset, concatenate_datasets

    column, labels = run.setting("data.label_column", "label"), _every_label(run)
    if not labels:
        return rows
    text = [LABELLED] * len(labels[0]) if run.is_tokens else LABELLED
    columns: dict[str, list[Any]] = {name: [None] * len(labels) for name in rows.column_names}
    columns |= {name: [text] * len(labels) for name in run.text_columns}
    columns[column] = labels
    for name in (column, *run.text_columns):
        if getattr(rows.features[name], "dtype", "") == "string":  # lists may be written as texts
            columns[name] = [str(value) if isinstance(value, list) else value for value in columns[name]]
    try:
        added = Dataset.from_dict(columns, features=rows.features)
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, ValueError):
        return rows  # its labels are of another type, which is said when they are read
    return concatenate_datasets([added, rows])


def _every_label(run: SavedRun) -> list[Any]:
    """Return what the label column of a few rows could hold, so that each label is among it."""
    kind = run.schema.problem_type
    values = list(range(len(run.schema.names)) if _has_classes(run) else run.schema.values)
    if kind == REGRESSION:
        return [0, 1]
    if kind == TOKENS:
        return [values]
    if kind == SINGLE:
        return values
    delimiter = run.setting("data.label_delimiter")
    if delimiter:
        return [character(delimiter).join(map(str, values))]
    # Where there is a 0 or 1 for each label, every row has them all.
    return [values] if _has_classes(run) or all(isinstance(value, str) for value in values) else []


def _has_classes(run: SavedRun) -> bool:
    """Whether the run's labels were numbers with names, as a ClassLabel of datasets has them."""
    names, values = run.schema.names, run.schema.values
    if not values or not isinstance(run.setting("data.label_column", "label"), str):
        return False
    return all(type(value) is int for value in values) and names != tuple(map(str, values))


def _with_classes(run: SavedRun, rows: Dataset) -> Dataset:
    """Read a file's labels as the run's classes, by their names or their numbers, where it had classes."""
    import pyarrow as pa
    from datasets import ClassLabel, List

    column = run.setting("data.label_column", "label")
    if isinstance(column, str):  # what a file names is taken by its names
        rows = decoded(rows, column)
    if not _has_classes(run):
        return rows
    names = run.schema.names
    classes, is_list = ClassLabel(names=list(names)), isinstance(rows.features[column], List)
    kind = rows.features[column].feature.dtype if is_list else rows.features[column].dtype
    if "int" in kind and run.schema.values != tuple(range(len(names))):
        return rows
    try:
        return rows.cast_column(column, List(classes) if is_list else classes)
    except (pa.ArrowInvalid, TypeError, ValueError):
        return rows  # a label that the run doesn't know, which is said when they are read


def _rows(run: SavedRun, data: TextData, split: str, name: str) -> LabelledRows:
    if data.schema.problem_type != run.schema.problem_type:
        rule = f"These labels are {data.schema.problem_type}; the run's are {run.schema.problem_type}."
        raise DataError(Fault("data.label_column", rule))
    part = data.splits[split]
    names = ("words",) if run.is_tokens else ("text", "text_pair")
    columns = tuple(part[column][:] for column in names if column in part.column_names)
    counted = [[tag != IGNORED for tag in tags] for tags in part["labels"]] if run.is_tokens else None
    truth = _in_run_s_ids(run, data, truth_of(data, split))
    return LabelledRows(name, part["id"][:], columns, truth, counted=counted)


def _in_run_s_ids(run: SavedRun, data: TextData, truth: Any) -> Any:
    """Give labels the numbers that they have in the run.

    Raises:
        DataError: the run doesn't know some of them.
    """
    import numpy as np

    known, given = run.schema.names, data.schema.names
    if run.schema.problem_type == TOKENS or not run.schema.values:
        return truth  # tags by name, or numbers
    unknown = [name for name in given if name not in known]
    if unknown:
        rule = f"The run has never seen the labels {', '.join(f'`{name}`' for name in unknown)}."
        raise DataError(Fault("data.label_column", rule, valid=known, fix="Leave their rows out."))
    places = np.array([known.index(name) for name in given])
    if run.schema.problem_type == SINGLE:
        return places[truth]
    wide = np.zeros((len(truth), len(known)), int)
    wide[:, places] = truth
    return wide
