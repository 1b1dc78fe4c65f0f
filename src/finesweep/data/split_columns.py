"""The columns that splits are made by, time and group: read, and doubted where they can't be compared."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from finesweep.data.rows import Rows
from finesweep.data.spelling import normalized_name
from finesweep.data.splits import SplitSettings
from finesweep.data.times import Reading, reading_of

EXAMPLES = 3


def with_read_times(
    rows: Mapping[str, Rows], settings: SplitSettings
) -> tuple[dict[str, Rows], Reading | None]:
    """Turn the texts of the column `time` into values that order as time does, in each split that has it.

    Train decides how they are written. A split whose times aren't of its kind loses them: whether it is later
    can't be known.

    Returns:
        The rows, and how their times were read.

    Raises:
        DataError: train's times can't be ordered surely.
    """
    if not settings.time or "time" not in rows["train"].extra:
        return dict(rows), None
    reading = reading_of(rows["train"].extra["time"], settings.time_format)
    read = {name: _with_times(part, reading) for name, part in rows.items() if "time" in part.extra}
    kinds = {name: {_kind(time) for time in part.extra.get("time", ())} for name, part in read.items()}
    unlike = [name for name, kind in kinds.items() if not kind - {None} <= kinds["train"]]
    return {**rows, **read, **{name: _without_times(read[name]) for name in unlike}}, reading


def doubts_of_split_columns(rows: Mapping[str, Rows], settings: SplitSettings) -> Iterator[str]:
    """Name given splits that can't be compared with train, and groups that are spelled in several ways."""
    for key, column in (("group", settings.group), ("time", settings.time)):
        for name, part in rows.items():
            if column and key not in part.extra:
                what = "whose groups they are" if key == "group" else "whether they are later than train"
                yield f"{name} has no column `{column}` that can be held against train's: {what} is not known"
    spellings: dict[str, set[str]] = {}
    for part in rows.values():
        for value in {value for value in part.extra.get("group", ()) if value is not None}:
            spellings.setdefault(normalized_name(value), set()).add(str(value))
    several = [sorted(found) for found in spellings.values() if len(found) > 1]
    if several:
        shown = "; ".join(" and ".join(map(repr, found)) for found in several[:EXAMPLES])
        rule = (
            f"{len(several)} groups of `{settings.group}` are spelled in several ways, and count as one each"
        )
        yield f"{rule}: {shown}{'; ...' if len(several) > EXAMPLES else ''}"


def _with_times(part: Rows, reading: Reading) -> Rows:
    try:
        return replace(part, extra={**part.extra, "time": reading(part.extra["time"])})
    except (ValueError, TypeError, AttributeError, OverflowError):
        return _without_times(part)


def _kind(time: Any) -> Hashable:
    """Return what times that compare with each other have in common; None of one that is missing."""
    if time is None or isinstance(time, int | float):
        return None if time is None else "number"
    return type(time), getattr(time, "tzinfo", None) is None


def _without_times(part: Rows) -> Rows:
    return replace(part, extra={name: values for name, values in part.extra.items() if name != "time"})
