"""A few rows of each label, as the model will read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finesweep.data.labels import IGNORED, MULTI, REGRESSION, SINGLE, TOKENS
from finesweep.data.spans import scheme_of, span_types

if TYPE_CHECKING:
    from finesweep.data import TextData
    from finesweep.data.labels import LabelSchema
    from finesweep.tokenization.encoder import TextEncoder
    from finesweep.tokenization.notes import Encoded

EXAMPLES = 3


@dataclass(frozen=True)
class Example:
    """One row of train.

    Args:
        id: the row's number in the source.
        label: its label, labels or target; empty for tokens, whose tags stand in the text.
        text: its tokens as text, special tokens included; of several windows the first.
        tokens: how many it has before it is cut.
        is_cut: whether some of them are not in `text`.
    """

    id: int
    label: str
    text: str
    tokens: int
    is_cut: bool


def find_examples(
    data: TextData, encoder: TextEncoder, encoded: Encoded, truth: Any
) -> dict[str, list[Example]]:
    """Return the first three rows of train that have each label.

    For tokens a label is a type of span. Of a regression it is the rows with the lowest, the middle and the
    highest target.

    Args:
        data: the splits and the label schema.
        encoder: has the tokenizer.
        encoded: the same splits as tokens.
        truth: of train, as finesweep.runs.evaluation.truth_of gives it.
    """
    return {
        name: [_example(row, data, encoder, encoded, truth) for row in rows]
        for name, rows in _rows_by_label(truth, data.schema).items()
    }


def _rows_by_label(truth: Any, schema: LabelSchema) -> dict[str, list[int]]:
    if schema.problem_type == REGRESSION:
        order = truth.argsort(kind="stable").tolist()
        return {schema.names[0]: list(dict.fromkeys([order[0], order[len(order) // 2], order[-1]]))}
    names = span_types(schema.names, schema.names) if schema.problem_type == TOKENS else schema.names
    found: dict[str, list[int]] = {name: [] for name in names}
    missing = set(names)
    for row, labels in enumerate(_labels_of_rows(truth, schema)):
        for name in missing.intersection(labels):
            found[name].append(row)
            if len(found[name]) == EXAMPLES:
                missing.remove(name)
        if not missing:
            break
    return found


def _labels_of_rows(truth: Any, schema: LabelSchema) -> Iterator[Sequence[str]]:
    for labels in truth:
        if schema.problem_type == SINGLE:
            yield (schema.names[labels],)
        elif schema.problem_type == MULTI:
            yield [schema.names[i] for i in labels.nonzero()[0]]
        else:
            yield span_types(labels, schema.names)


def _example(row: int, data: TextData, encoder: TextEncoder, encoded: Encoded, truth: Any) -> Example:
    import numpy as np

    place = int(np.searchsorted(encoded.documents["train"], row)) if encoded.documents else row
    tokens = int(encoded.lengths["train"][row])
    seen = encoded.splits["train"][place]
    return Example(
        id=data.splits["train"][row]["id"],
        label=_label(truth[row], data.schema),
        text=_text(seen, encoder.tokenizer, data.schema),
        tokens=tokens,
        is_cut=tokens > len(seen["input_ids"]),
    )


def _label(value: Any, schema: LabelSchema) -> str:
    if schema.problem_type == SINGLE:
        return schema.names[value]
    if schema.problem_type == MULTI:
        return ", ".join(schema.names[i] for i in value.nonzero()[0])
    return f"{value:.6g}" if schema.problem_type == REGRESSION else ""


def _text(seen: dict[str, Any], tokenizer: Any, schema: LabelSchema) -> str:
    """Return the decoded tokens; words with a tag other than O as `word/TAG`."""
    if schema.problem_type != TOKENS:
        return tokenizer.decode(seen["input_ids"])
    pieces = [tokenizer.decode([token]).strip() for token in seen["input_ids"]]
    outside = scheme_of(schema.names).outside
    tags = [None if i == IGNORED else schema.names[i] for i in seen["labels"]]
    return " ".join(
        f"{piece}/{tag}" if tag not in (None, outside) else piece
        for piece, tag in zip(pieces, tags, strict=True)
    )
