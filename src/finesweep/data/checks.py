"""What is wrong with rows: texts, labels, copies. Everything is found before anything is said."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finesweep.data.labels import TOKENS, LabelReader
from finesweep.data.rows import Rows
from finesweep.data.spelling import normalized
from finesweep.errors import Fault

EXAMPLES = 5
SHORT = reprlib.Repr()
SHORT.maxstring = SHORT.maxother = 50
SHORT.maxlist = 8


@dataclass(frozen=True)
class Problem:
    """Rows of one split that can't be used, and why.

    Args:
        split: its name.
        what: the end of "3 of 90 rows of the train split have ...".
        rows: their positions.
        key: the config key of the column.
        column: its name.
    """

    split: str
    what: str
    rows: Sequence[int]
    key: str
    column: str

    def fault(self, rows: Rows) -> Fault:
        """Return the message, with row numbers of the source."""
        rule = f"{len(self.rows)} of {len(rows)} rows of the {self.split} split have {self.what}: "
        fix = "Rows count from 0. Correct or remove them; data.on_invalid=drop leaves them out."
        return Fault(self.key, rule + examples(rows, self.rows), self.column, fix=fix)


def find_problems(
    splits: Mapping[str, Rows], text_columns: Sequence[str], label_column: str, reader: LabelReader | None
) -> list[Problem]:
    """Return every problem of every row.

    Args:
        splits: the rows.
        text_columns: names, in the order of the rows' texts.
        label_column: its name.
        reader: of the labels; None when they can't be read at all.
    """
    found = []
    for name, rows in splits.items():
        for column, texts in zip(text_columns, rows.texts, strict=True):
            for what, numbers in wrong_texts(texts).items():
                found.append(Problem(name, what, numbers, "data.text_column", column))
        if reader is not None:
            for what, numbers in reader.invalid(rows.labels).items():
                found.append(Problem(name, what, numbers, "data.label_column", label_column))
            if reader.schema.problem_type == TOKENS:
                numbers = _unequal(rows.texts[0], rows.labels)
                found.append(
                    Problem(
                        name, "more words than tags, or fewer", numbers, "data.label_column", label_column
                    )
                )
    return [problem for problem in found if problem.rows]


def wrong_texts(texts: Sequence[Any]) -> dict[str, list[int]]:
    """Return what is wrong with a column of texts, or of lists of words, and in which rows."""
    found: dict[str, list[int]] = {"no text": [], "empty text": [], "text that is no text": []}
    for row, text in enumerate(texts):
        if text is None:
            found["no text"].append(row)
        elif isinstance(text, list):
            if not text or any(not isinstance(word, str) or not word.strip() for word in text):
                found.setdefault("no words, or empty ones", []).append(row)
        elif not isinstance(text, str):
            found["text that is no text"].append(row)
        elif not text.strip():
            found["empty text"].append(row)
    return found


def _unequal(words: Sequence[Any], tags: Sequence[Any]) -> list[int]:
    return [
        row
        for row, (some, others) in enumerate(zip(words, tags, strict=True))
        if isinstance(some, list) and isinstance(others, list) and len(some) != len(others)
    ]


def find_copies(rows: Rows) -> list[int]:
    """Return the positions of rows whose text and label an earlier row has."""
    seen: set[tuple[str, str]] = set()
    copies = []
    for row, (content, label) in enumerate(zip(rows.contents, rows.labels, strict=True)):
        key = content, repr(label)
        copies += [row] if key in seen else []
        seen.add(key)
    return copies


def find_near_copies(rows: Rows) -> list[int]:
    """Return the positions of rows that differ from an earlier one in case or white space alone."""
    seen: set[tuple[str, str]] = set()
    near = []
    exact = set(find_copies(rows))
    for row, (content, label) in enumerate(zip(rows.contents, rows.labels, strict=True)):
        key = normalized(content), repr(label)
        near += [row] if key in seen and row not in exact else []
        seen.add(key)
    return near


def find_conflicts(rows: Rows) -> list[int]:
    """Return the positions of rows whose text, case and white space aside, another has with another label."""
    labels: dict[str, set[str]] = {}
    contents = [normalized(content) for content in rows.contents]
    for content, label in zip(contents, rows.labels, strict=True):
        labels.setdefault(content, set()).add(repr(label))
    return [row for row, content in enumerate(contents) if len(labels[content]) > 1]


def examples(rows: Rows, positions: Sequence[int]) -> str:
    """Return "rows 3, 4, 9, ...", and below that what the first few of them say.

    Args:
        rows: of a split.
        positions: in it.
    """
    lines = [listed([rows.ids[row] for row in positions])]
    for row in positions[:EXAMPLES]:
        texts = " | ".join(SHORT.repr(column[row]) for column in rows.texts)
        lines.append(f"    row {rows.ids[row]}: {texts}, label {SHORT.repr(rows.labels[row])}")
    return "\n".join(lines)


def listed(numbers: Sequence[int]) -> str:
    """Return "rows 3, 4, 9, ..."."""
    more = ", ..." if len(numbers) > EXAMPLES else ""
    return f"row{'s' * (len(numbers) > 1)} " + ", ".join(map(str, numbers[:EXAMPLES])) + more
