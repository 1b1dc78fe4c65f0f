"""Leaving out unusable rows, copies and leaks; and saying what is doubtful about the rows that stay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from finesweep.data.checks import (
    EXAMPLES,
    examples,
    find_conflicts,
    find_copies,
    find_near_copies,
    find_problems,
    listed,
)
from finesweep.data.labels import IGNORED, MULTI, SINGLE, TOKENS, LabelReader
from finesweep.data.leaks import find_leaks
from finesweep.data.merged_rows import holds_labelled_lines
from finesweep.data.rows import Rows
from finesweep.data.spans import broken_spans
from finesweep.data.spelling import quoted, spelled_alike
from finesweep.data.tags import tag_names
from finesweep.data.written import joined_names
from finesweep.errors import DataError, Fault
from finesweep.system.paths import SPLIT_NAMES


def without_invalid(
    rows: Mapping[str, Rows], texts: Sequence[str], labels: str, reader: LabelReader, notes: list[str]
) -> dict[str, Rows]:
    """Leave out rows without a usable text or label, and note how many.

    Args:
        rows: of each split.
        texts: names of the text columns.
        labels: name of the label column.
        reader: of the labels.
        notes: are added to.

    Raises:
        DataError: a split of which nothing is left.
    """
    wrong: dict[str, set[int]] = {name: set() for name in rows}
    for problem in find_problems(rows, texts, labels, reader):
        wrong[problem.split] |= set(problem.rows)
    kept = {name: _without(part, wrong[name]) for name, part in rows.items()}
    for name, numbers in wrong.items():
        notes += [f"{len(numbers)} of {len(rows[name])} {name} rows dropped as invalid"] if numbers else []
        if not len(kept[name]):
            raise DataError(Fault("data.on_invalid", f"The {name} split has no valid row.", "drop"))
    return kept


def without_copies(rows: Rows, notes: list[str]) -> Rows:
    """Keep the first of rows with the same text and label, and note how many others there were."""
    copies = set(find_copies(rows))
    notes += [f"{len(copies)} duplicate rows dropped"] if copies else []
    return _without(rows, copies)


def without_leaks(
    rows: dict[str, Rows], on_leak: str, notes: list[str], warnings: list[str]
) -> dict[str, Rows]:
    """Treat what two splits share (texts, groups, times) as `data.on_leak` says.

    Args:
        rows: of each split.
        on_leak: error; warn; drop, out of the earlier split.
        notes: are added to, when rows are dropped.
        warnings: are added to, when they aren't.

    Raises:
        DataError: there are some and `on_leak` is error, or nothing is left of a split.
    """
    leaks = find_leaks(rows)
    if leaks and on_leak == "error":
        fix = (
            "Correct the files; data.on_leak=drop takes them out of the split that is trained on, warn tells."
        )
        raise DataError(*(Fault("data.on_leak", leak.describe(rows), fix=fix) for leak in leaks))
    if on_leak == "warn":
        advice = "data.on_leak=drop takes them out of"
        warnings += [f"{leak.describe(rows)}\n    {advice} {leak.source}" for leak in leaks]
        return rows
    kept = dict(rows)
    for name, part in rows.items():
        leaked = {row for leak in leaks if leak.source == name for row in leak.originals}
        notes += [f"{len(leaked)} {name} rows dropped that a later split shares"] if leaked else []
        kept[name] = _without(part, leaked)
        if not len(kept[name]):
            rules = "; ".join(leak.describe(rows) for leak in leaks if leak.source == name)
            fix = "data.on_leak=warn keeps them."
            raise DataError(Fault("data.on_leak", f"Nothing is left of {name}: {rules}", on_leak, fix=fix))
    return kept


def doubts_of_rows(rows: Mapping[str, Rows]) -> list[str]:
    """Name copies within a split, to the letter or nearly, and texts with two labels."""
    found = []
    for name, part in rows.items():
        if copies := find_copies(part):
            numbers = listed([part.ids[row] for row in copies])
            fix = "data.drop_duplicates=true drops them"
            found.append(f"{len(copies)} of {len(part)} {name} rows are copies of others ({numbers}); {fix}")
        if near := find_near_copies(part):
            numbers = listed([part.ids[row] for row in near])
            what = "rows differ from others in case or white space alone"
            found.append(f"{len(near)} of {len(part)} {name} {what} ({numbers}); they stay")
        if conflicts := find_conflicts(part):
            what = "rows have the text of another, case and white space aside, with another label"
            found.append(f"{len(conflicts)} {name} {what}: {examples(part, conflicts)}")
        if merged := _merged_rows(part):
            what = "rows hold lines that look like rows of their own; did a stray quote merge them?"
            found.append(f"{len(merged)} of {len(part)} {name} {what} {examples(part, merged)}")
    return found


def doubts_of_labels(rows: Mapping[str, Rows], reader: LabelReader) -> list[str]:
    """Name labels that are spelled alike, rare or absent, and tags that start a span in its middle."""
    kind, names = reader.schema.problem_type, reader.schema.names
    alike = [" and ".join(map(quoted, group)) for group in spelled_alike(names)]
    what = "labels differ in case, white space or invisible signs alone"
    found = [f"{what}: {'; '.join(alike)}"] if alike else []
    found += [*_absent_labels(rows, reader)]
    if kind == SINGLE:
        found += [joined] if (joined := joined_names(names)) else []
        num_cut = len(SPLIT_NAMES) - len(rows)
        counts = Counter(reader.encode(rows["train"].labels))
        rare = [f"`{names[i]}` ({count})" for i, count in sorted(counts.items()) if count <= num_cut]
        what = f"of {len(counts)} labels have fewer rows than there are splits"
        found += [f"{len(rare)} {what}: {', '.join(rare[:5])}"] if rare else []
    if kind == TOKENS:
        encoded = {name: reader.encode(rows[name].labels) for name in rows}
        tags = {name: [tag_names(row, names) for row in some] for name, some in encoded.items()}
        broken = {name: sum(broken_spans(row, names) for row in some) for name, some in tags.items()}
        ignored = sum(row.count(IGNORED) for some in encoded.values() for row in some)
        what = "words have a tag that says they don't count: in no loss, no metric"
        found += [f"{ignored} {what}"] if ignored else []
        what = "start with I- instead of B-; they count as spans"
        found += [f"{count} spans of {name} {what}" for name, count in broken.items() if count]
    return found


def _absent_labels(rows: Mapping[str, Rows], reader: LabelReader) -> Iterator[str]:
    """Name the labels that a split which was given lacks altogether."""
    kind, names = reader.schema.problem_type, reader.schema.names
    if kind not in (SINGLE, MULTI):
        return
    for split in rows.keys() - {"train"}:
        encoded = reader.encode(rows[split].labels)
        found = (
            set(encoded) if kind == SINGLE else {i for row in encoded for i, flag in enumerate(row) if flag}
        )
        absent = [f"`{name}`" for i, name in enumerate(names) if i not in found]
        if absent:
            named = ", ".join(absent[:EXAMPLES]) + ", ..." * (len(absent) > EXAMPLES)
            yield f"{split} has no row of {len(absent)} of {len(names)} labels: {named}"


def _merged_rows(rows: Rows) -> list[int]:
    labels = {label for label in rows.labels if isinstance(label, str)}
    return [
        row
        for row in range(len(rows))
        if any(
            isinstance(texts[row], str) and holds_labelled_lines(texts[row], labels) for texts in rows.texts
        )
    ]


def _without(rows: Rows, positions: set[int]) -> Rows:
    return rows.select([row for row in range(len(rows)) if row not in positions])
