"""Numbers with names attached: one list of names for a column, wherever its numbers were made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep.data.columns import dataset_of
from finesweep.errors import DataError, Fault

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

# Where datasets keeps features in the metadata of an Arrow schema.
SAVED_FEATURES = b"huggingface"


def class_names(feature: Any) -> tuple[str, ...] | None:
    """Return the names of a ClassLabel, or of the ClassLabels in a list; None of any other feature."""
    from datasets import ClassLabel

    feature = getattr(feature, "feature", feature[0] if isinstance(feature, list) and feature else feature)
    return tuple(feature.names) if isinstance(feature, ClassLabel) else None


def aligned(splits: Mapping[str, Dataset]) -> dict[str, Dataset]:
    """Give each column of ClassLabels one list of names in all splits, and its numbers to match.

    The numbers of a split that was encoded apart mean other names. Beside a split that has the names as
    texts, all are texts. Whole numbers without names stay: `numbers_without_names` says where they are.

    Args:
        splits: their features may differ.
    """
    aligned_splits = dict(splits)
    for column in dict.fromkeys(name for part in splits.values() for name in part.column_names):
        parts = {name: part for name, part in aligned_splits.items() if column in part.column_names}
        lists = {name: class_names(part.features[column]) for name, part in parts.items()}
        if not any(lists.values()) or len(set(lists.values())) == 1:
            continue
        if any(_is_text(part.features[column]) for part in parts.values()):
            aligned_splits |= {name: decoded(part, column) for name, part in parts.items()}
        else:
            common = tuple(dict.fromkeys(name for names in lists.values() for name in names or ()))
            aligned_splits |= {
                name: recoded(part, column, common) for name, part in parts.items() if lists[name]
            }
    return aligned_splits


def numbers_without_names(splits: Mapping[str, Dataset], column: str) -> tuple[list[str], list[str]]:
    """Return the splits whose labels are numbers with names, and those whose are numbers alone."""
    named = [name for name, part in splits.items() if class_names(part.features[column])]
    bare = [
        name for name, part in splits.items() if _dtype(part.features[column]).startswith(("int", "uint"))
    ]
    return named, [name for name in bare if name not in named]


def doubts_of_names(splits: Mapping[str, Dataset], column: str) -> list[str]:
    """Say where whole numbers without names stand beside others that have names."""
    named, bare = numbers_without_names(splits, column)
    if not named or not bare:
        return []
    names = ", ".join(class_names(splits[named[0]].features[column]) or ())
    what = f"the labels of {' and '.join(bare)} are numbers alone; in {' and '.join(named)} they have names"
    return [f"{what} ({names}), and are taken to mean the same"]


def recoded(part: Dataset, column: str, names: Sequence[str]) -> Dataset:
    """Turn a column's numbers into those of another list of names.

    Args:
        part: a split; the column is of ClassLabels, or of lists of them.
        column: its name.
        names: the other list; it holds each of the column's own names.
    """
    from datasets import ClassLabel

    own = class_names(part.features[column]) or ()
    places = {number: names.index(name) for number, name in enumerate(own)}
    return _replaced(part, column, lambda number: places.get(number, number), ClassLabel(names=list(names)))


def decoded(part: Dataset, column: str) -> Dataset:
    """Turn a column of ClassLabels into the names as texts, an unlabelled row into a null; others stay."""
    from datasets import Value

    names = class_names(part.features[column])
    if names is None:
        return part
    return _replaced(part, column, dict(enumerate(names)).get, Value("string"))


def aligned_files(tables: Mapping[Path, pa.Table]) -> dict[Path, pa.Table]:
    """Do for the files of one split what `aligned` does for splits.

    Raises:
        DataError: a file with numbers alone, whose meaning another file's names don't say.
    """
    from datasets import Features

    if not any(SAVED_FEATURES in (table.schema.metadata or {}) for table in tables.values()):
        return dict(tables)
    named = [Features.from_arrow_schema(table.schema) for table in tables.values()]
    lists = [{name: class_names(feature) for name, feature in features.items()} for features in named]
    if all(names == lists[0] for names in lists):
        return dict(tables)
    parts = {str(file): dataset_of(table) for file, table in tables.items()}
    for column in lists[0]:
        with_names, without = numbers_without_names(parts, column)
        if with_names and without:
            names = ", ".join(class_names(parts[with_names[0]].features[column]) or ())
            rule = f"Its `{column}` holds numbers alone; in {with_names[0]} they have names: {names}."
            raise DataError(Fault(without[0], rule, fix="Write the labels as texts, in both."))
    return {file: part.data.table for file, part in zip(tables, aligned(parts).values(), strict=True)}


def _replaced(part: Dataset, column: str, change: Callable[[int], Any], kind: Any) -> Dataset:
    """Return the split with each number of a column changed, those in lists too."""
    from datasets import List

    def changed(value: Any) -> Any:
        if value is None:
            return None
        return [changed(item) for item in value] if isinstance(value, list) else change(value)

    is_list = not hasattr(part.features[column], "names")
    values = [changed(value) for value in part[column][:]]
    rest = part.remove_columns(column)
    return rest.add_column(column, values, feature=List(kind) if is_list else kind)  # type: ignore[arg-type]


def _is_text(feature: Any) -> bool:
    return "string" in _dtype(feature)


def _dtype(feature: Any) -> str:
    feature = getattr(feature, "feature", feature[0] if isinstance(feature, list) and feature else feature)
    return str(getattr(feature, "dtype", ""))
