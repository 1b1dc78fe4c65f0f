"""The label schema: built from the train split, then held against the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from finesweep.errors import DataError, Fault

if TYPE_CHECKING:
    from datasets import Dataset

EXAMPLES = 5


@dataclass(frozen=True)
class LabelSchema:
    """The problem type and the label names; a name's position is its id.

    Args:
        names: sorted, each as text.
        values: the same labels as the data holds them (text, number or bool).
        problem_type: as in transformers' configs.
    """

    names: tuple[str, ...]
    values: tuple[Any, ...]
    problem_type: str = "single_label_classification"

    @property
    def id2label(self) -> dict[int, str]:
        """Label names by id."""
        return dict(enumerate(self.names))

    def to_json(self) -> dict[str, Any]:
        """Return plain values for labels.json."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}


def build_schema(train: Dataset, label_column: str) -> LabelSchema:
    """Read the label schema off the train split.

    Raises:
        DataError: fewer than two labels, or labels of mixed or unsuitable types.
    """
    from datasets import ClassLabel

    feature = train.features[label_column]
    values = train[label_column][:]
    if isinstance(feature, ClassLabel):
        present = set(values)
        ids = [i for i in range(len(feature.names)) if i in present]
        return LabelSchema(tuple(feature.names[i] for i in ids), _at_least_two(ids, label_column))
    kinds = {type(value).__name__ for value in values}
    if not kinds <= {"str"} and not kinds <= {"int"} and not kinds <= {"bool"}:
        rule = f"Labels are all texts, all whole numbers or all bools; these are {', '.join(sorted(kinds))}."
        fix = "Is it the right column? Its values start with " + ", ".join(map(str, values[:EXAMPLES])) + "."
        raise DataError(Fault("data.label_column", rule, label_column, fix=fix))
    labels = _at_least_two(sorted(set(values)), label_column)
    return LabelSchema(tuple(str(label) for label in labels), labels)


def encode_labels(
    splits: Mapping[str, Dataset], label_column: str, schema: LabelSchema
) -> dict[str, list[int]]:
    """Map each split's labels to ids.

    Raises:
        DataError: labels that train doesn't have, with their counts, all splits at once.
    """
    ids = {value: i for i, value in enumerate(schema.values)}
    columns = {name: split[label_column][:] for name, split in splits.items()}
    faults = [_unseen(name, values, ids, schema) for name, values in columns.items()]
    if any(faults):
        raise DataError(*(fault for fault in faults if fault))
    return {name: [ids[value] for value in values] for name, values in columns.items()}


def _unseen(split: str, values: Sequence[Any], known: Mapping[Any, int], schema: LabelSchema) -> Fault | None:
    unseen = Counter(str(value) for value in values if value not in known)
    if not unseen:
        return None
    if set(unseen) == {"-1"}:
        rule = f"All {unseen['-1']} labels of the {split} split are -1: it is unlabelled."
        return Fault("data.label_column", rule, fix="Leave that split out: it is then made from train.")
    listed = ", ".join(f"{label} ({count} rows)" for label, count in unseen.most_common(EXAMPLES))
    rule = f"The {split} split has labels that train doesn't have: {listed}."
    return Fault(
        "data.label_column", rule, valid=schema.names, fix="Correct the rows, or add examples to train."
    )


def _at_least_two(labels: Sequence[Any], label_column: str) -> tuple[Any, ...]:
    if len(labels) < 2:
        only = f"only `{labels[0]}`" if labels else "none"
        rule = f"Classification needs two labels or more; train has {only}."
        raise DataError(Fault("data.label_column", rule, label_column))
    return tuple(labels)
