"""Which problem type labels are of, and who reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finesweep.data.checks import find_problems
from finesweep.data.class_labels import class_names
from finesweep.data.labels import LabelReader, LabelSchema, Task, is_missing
from finesweep.data.multi_label import MultiLabels
from finesweep.data.regression import Targets
from finesweep.data.rows import Rows
from finesweep.data.single_label import SingleLabels
from finesweep.data.spelling import shown
from finesweep.data.tags import Tags
from finesweep.data.written import written_numbers
from finesweep.errors import DataError, Fault

if TYPE_CHECKING:
    from datasets import Dataset

# More distinct whole numbers than these are probably no classes.
MOST_NUMBERED_CLASSES = 30


@dataclass(frozen=True)
class LabelColumn:
    """The train split's labels, and what is known about them.

    Args:
        name: of the column, or of several, joined.
        values: of the train split.
        class_names: of a ClassLabel feature, or of columns of 0 and 1.
        has_words: whether the text column holds lists of words.
        is_indicators: whether the labels come from several columns.
    """

    name: str
    values: Sequence[Any]
    class_names: Sequence[str] | None = None
    has_words: bool = False
    is_indicators: bool = False

    @classmethod
    def of(cls, train: Dataset, columns: Sequence[str], rows: Rows) -> LabelColumn:
        """Describe the labels of the train split.

        Args:
            train: the split, whose features may name the classes.
            columns: names of the label columns.
            rows: of the same split.
        """
        has_words = any(isinstance(text, list) for text in rows.texts[0])
        names = _class_names(train, columns)
        return cls(", ".join(columns), rows.labels, names, has_words, len(columns) > 1)


@dataclass(frozen=True)
class LabelSettings:
    """What a config says of labels.

    Args:
        task: `auto` decides by the labels.
        names: the labels that there are, of tags that are numbers in their order; None: whichever.
        delimiter: between the labels of a text, for multi-label tasks.
        standardize: for regression.
        ignored: tags of words that don't count.
    """

    task: Task = "auto"
    names: Sequence[str] | None = None
    delimiter: str | None = None
    standardize: bool = True
    ignored: Sequence[str] = ()


def read_labels(
    rows: Mapping[str, Rows],
    text_columns: Sequence[str],
    labels: LabelColumn,
    settings: LabelSettings,
    on_invalid: str,
) -> tuple[LabelReader, str]:
    """Return the reader of the labels, and a word on how the task was decided.

    Args:
        rows: of each split.
        text_columns: their names.
        labels: of the train split.
        settings: what the config says.
        on_invalid: `error` refuses rows that can't be used.

    Raises:
        DataError: everything that is wrong with the labels and, where they matter, with the rows.
    """
    reader, reason, faults = None, "", []
    try:
        reader, reason = make_reader(labels, settings)
    except DataError as error:
        faults += error.faults
    if reader is None or on_invalid == "error":
        problems = find_problems(rows, text_columns, labels.name, reader)
        faults += [problem.fault(rows[problem.split]) for problem in problems]
    if reader is None or faults:
        raise DataError(*faults)
    _assert_names(reader.schema, settings.names)
    return reader, reason


def make_reader(labels: LabelColumn, settings: LabelSettings) -> tuple[LabelReader, str]:
    """Return the reader for a task, and a word on how the task was decided.

    Args:
        labels: of the train split.
        settings: what the config says.

    Raises:
        DataError: labels that could be of two problem types, or don't suit the task.
    """
    task, delimiter = settings.task, settings.delimiter
    decided, reason = decide(labels, delimiter) if task == "auto" else (task, "")
    if (decided == "token-classification") != labels.has_words:
        column = "lists of words" if labels.has_words else "texts"
        rule = f"The text column holds {column}, which don't go with this task."
        fix = "Token classification takes lists of words and lists of tags; the other tasks take texts."
        raise DataError(Fault("data.task", rule, decided, fix=fix))
    readers = {
        "single-label": lambda: SingleLabels(labels.values, labels.class_names, labels.name),
        "multi-label": lambda: MultiLabels(
            labels.values, labels.class_names, delimiter, labels.name, is_indicators=labels.is_indicators
        ),
        "regression": lambda: Targets(labels.values, settings.standardize, labels.name),
        "token-classification": lambda: Tags(
            labels.values, labels.class_names, labels.name, settings.names, settings.ignored
        ),
    }
    return readers[decided](), f"task {decided}: {reason}" if reason else ""


def decide(labels: LabelColumn, delimiter: str | None) -> tuple[str, str]:
    """Return the task that labels speak for, and why.

    Raises:
        DataError: they could be classes as well as amounts, or are of a type that is no label.
    """
    values = [value for value in labels.values if not is_missing(value)]
    kinds = {type(value) for value in values}
    if labels.has_words:
        return "token-classification", "words and tags are lists"
    if labels.is_indicators:
        return "multi-label", "there are several label columns"
    if kinds == {list}:
        return "multi-label", "labels are lists"
    if delimiter is not None:
        return "multi-label", "data.label_delimiter is set"
    if labels.class_names is not None:
        return "single-label", "labels are named classes"
    if kinds == {str} and (written := written_numbers(values)):
        raise DataError(Fault("data.label_column", written.rule, labels.name, fix=written.fix))
    distinct = len(set(values)) if list not in kinds and dict not in kinds else 0
    if kinds == {str} or kinds == {bool}:
        return "single-label", f"{distinct} different {'texts' if kinds == {str} else 'bools'}"
    if kinds == {int} and distinct <= MOST_NUMBERED_CLASSES:
        return "single-label", f"{distinct} different whole numbers"
    if kinds <= {int, float} and not all(float(value).is_integer() for value in values):
        return "regression", "labels are numbers with fractions"
    if kinds and kinds <= {int, float}:
        rule = f"{distinct} different whole numbers could be classes or amounts."
        fix = "Say which: data.task=single-label or data.task=regression."
        raise DataError(Fault("data.label_column", rule, labels.name, fix=fix))
    return "single-label", ""  # whose reader says what is wrong with them


def _class_names(train: Dataset, labels: Sequence[str]) -> Sequence[str] | None:
    return labels if len(labels) > 1 else class_names(train.features[labels[0]])


def _assert_names(schema: LabelSchema, names: Sequence[str] | None) -> None:
    if names is None or set(names := list(map(str, names))) == set(schema.names):
        return
    extra, absent = sorted(set(schema.names) - set(names)), sorted(set(names) - set(schema.names))
    parts = [f"train has {', '.join(map(shown, extra))} beside them"] if extra else []
    parts += [f"train lacks {', '.join(map(shown, absent))}"] if absent else []
    raise DataError(Fault("data.label_names", f"The labels are others: {'; '.join(parts)}.", names))
