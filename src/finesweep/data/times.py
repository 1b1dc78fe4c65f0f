"""Times that order as time does, from whatever a column holds; what can't be ordered surely is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from finesweep.data.written_times import FORMS, Written, in_utc, number_of, parsed
from finesweep.errors import DataError, Fault

KEY = "data.split.time"
FORMAT_KEY = "data.split.time_format"
TEXT, NUMBER = "text", "number"  # what time_format may be beside a format of strptime
MISSING_WORDS = {"", "na", "n/a", "nan", "nat", "none", "null"}
DAY_FIRST, MONTH_FIRST = "day/month/year", "month/day/year"
ADVICE = (
    "Write all of them in one way, such as 2023-01-31; or say how they are written, as strptime has it:"
    f" {FORMAT_KEY}='%d/%m/%Y'. {FORMAT_KEY}=text orders them by their letters."
)


@dataclass(frozen=True)
class Reading:
    """How the times of a column are read.

    Args:
        name: for people; empty where the column has a type of its own.
        read: turns a value into one that can be ordered.
    """

    name: str
    read: Callable[[Any], Any]

    def __call__(self, values: Sequence[Any]) -> list[Any]:
        """Read a column; a missing value is None.

        Raises:
            ValueError: a value that isn't written so, or times with a zone among others without.
        """
        found = [None if is_missing(value) else self.read(value) for value in values]
        if len({_kind_of(value) for value in found if value is not None}) > 1:
            raise ValueError("times with an offset or an hour among others without")
        return [value.moment if isinstance(value, Written) else value for value in found]


def reading_of(values: Sequence[Any], time_format: str | None) -> Reading:
    """Find the one way in which a column's times can be read.

    Args:
        values: (rows,), of one type.
        time_format: a format of strptime, `text`, `number`, or None to find out.

    Raises:
        DataError: there is none, or several.
    """
    present = [(row, value) for row, value in enumerate(values) if not is_missing(value)]
    if time_format is not None:
        reading = Reading(time_format, _reader_of(time_format))
        _check_written(reading, present)
        _check_one_kind(reading, present)
        return reading
    if not present:
        return Reading("", lambda value: value)
    sample = present[0][1]
    if isinstance(sample, str):
        return _of_texts(present)
    if isinstance(sample, datetime):
        return Reading("", in_utc)
    if isinstance(sample, int | float) and not isinstance(sample, bool):
        _check_numbers([value for _, value in present])
        return Reading("", lambda value: value)
    if isinstance(sample, date | time | timedelta):
        return Reading("", lambda value: value)
    raise DataError(Fault(KEY, f"Its values are no times: row {present[0][0]} is {sample!r}.", fix=ADVICE))


def is_missing(value: Any) -> bool:
    """Whether a value says that there is none."""
    return (
        value is None or value != value or (isinstance(value, str) and value.strip().lower() in MISSING_WORDS)
    )


def format_fault(time_format: str) -> str:
    """Say why a format of strptime can't order times, or nothing."""
    if time_format in (TEXT, NUMBER):
        return ""
    if not re.search("%[YyGc]", time_format):
        return "It has no year (%Y), so it can't order days; a format of strptime, text or number."
    if "%Z" in time_format:
        return "%Z reads the name of a zone and forgets it; an offset is read by %z."
    return ""


def _of_texts(present: Sequence[tuple[int, str]]) -> Reading:
    fitting = [name for name in FORMS if all(parsed(FORMS[name], text) for _, text in present)]
    if {DAY_FIRST, MONTH_FIRST} <= {*fitting}:
        rule = "Its values can be read as day and month, and as month and day: " + _quoted(present[:3])
        fix = f"Say which: {FORMAT_KEY}='%d/%m/%Y' or '%m/%d/%Y', with what else they hold (%H:%M)."
        raise DataError(Fault(KEY, rule, fix=fix))
    if fitting:
        name = fitting[0]
        if name == "numbers":
            _check_numbers([text.strip() for _, text in present])
        reading = Reading(name, _form_reader(FORMS[name]))
        _check_one_kind(reading, present)
        return reading
    read = {name: sum(bool(parsed(form, text)) for _, text in present) for name, form in FORMS.items()}
    best = max(read, key=lambda name: read[name])
    others = [(row, text) for row, text in present if not parsed(FORMS[best], text)]
    if read[best]:
        rule = f"{read[best]} of {len(present)} values are read as {best}, the others can't be: "
    else:
        rule = "Its values are in no form that is read as a time: "
    raise DataError(Fault(KEY, rule + _quoted(others), fix=ADVICE))


def _check_written(reading: Reading, present: Sequence[tuple[int, Any]]) -> None:
    """Refuse a column with values that are written otherwise than a format has it."""
    bad = []
    for row, value in present:
        try:
            reading.read(value)
        except (ValueError, OverflowError):
            bad.append((row, value))
    if bad:
        rule = f"{len(bad)} of {len(present)} values aren't written as {reading.name}: {_quoted(bad)}"
        raise DataError(Fault(FORMAT_KEY, rule, fix=ADVICE))


def _check_one_kind(reading: Reading, present: Sequence[tuple[int, Any]]) -> None:
    """Refuse days among hours, and hours with a UTC offset among those without."""
    kinds: dict[Any, tuple[int, Any]] = {}
    for row, value in present:
        kinds.setdefault(_kind_of(reading.read(value)), (row, value))
    if len(kinds) > 1:
        rule = f"Some have an hour or a UTC offset and others don't: {_quoted(list(kinds.values()))}"
        raise DataError(Fault(KEY, rule, fix=ADVICE))


def _check_numbers(values: Sequence[Any]) -> None:
    """Refuse digits that can be days written day first, months, or seconds among milliseconds."""
    texts = [
        str(int(value)) if isinstance(value, float) and value.is_integer() else str(value) for value in values
    ]
    if all(re.fullmatch(r"(19|20)\d\d\.(0?[1-9]|1[0-2])", text) for text in texts):
        rule = f"Years with decimals can be years and months, whose zeros are lost: {', '.join(texts[:3])}"
        raise DataError(Fault(KEY, rule, fix=f"Write 2023-01; or {FORMAT_KEY}=number."))
    digits = [text for text in texts if text.isdigit()]
    if len(digits) < len(texts):
        return
    fix = f"Say what they are, as strptime has it: {FORMAT_KEY}=%d%m%Y; or {FORMAT_KEY}=number."
    for width, year_first, others in (
        (8, ("%Y%m%d",), ("%d%m%Y", "%m%d%Y")),
        (6, ("%Y%m",), ("%d%m%y", "%m%d%y", "%y%m%d")),
    ):
        padded = [text.zfill(width) for text in digits if len(text) in (width - 1, width)]
        if len(padded) < len(digits) or any(_all_days(padded, form) for form in year_first):
            continue
        if fitting := [form for form in others if _all_days(padded, form)]:
            if fitting == ["%y%m%d"]:
                continue  # which numbers order
            rule = f"These digits can be days that numbers don't order ({', '.join(fitting)}): "
            raise DataError(Fault(KEY, rule + ", ".join(digits[:3]), fix=fix))
    lengths = {len(text) for text in digits}
    if len(lengths) > 1 and lengths <= {10, 13, 16, 19}:
        rule = (
            f"Seconds stand among milliseconds: numbers of {' and '.join(map(str, sorted(lengths)))} digits."
        )
        raise DataError(Fault(KEY, rule, fix=f"Bring them to one unit; or {FORMAT_KEY}=number."))


def _all_days(texts: Iterable[str], form: str) -> bool:
    try:
        return all(1900 <= datetime.strptime(text, form).year < 2100 for text in texts)
    except ValueError:
        return False


def _reader_of(time_format: str) -> Callable[[Any], Any]:
    if time_format == TEXT:
        return str
    if time_format == NUMBER:
        return number_of
    width = len(datetime(2000, 11, 22, 10, 10, 10).strftime(time_format))

    def read(value: Any) -> Written:
        text = value.isoformat() if isinstance(value, date) else str(value).strip()
        moment = datetime.strptime(text.zfill(width) if text.isdigit() else text, time_format)
        return Written(in_utc(moment), has_zone=moment.tzinfo is not None)

    return read


def _form_reader(form: re.Pattern[str]) -> Callable[[Any], Any]:
    def read(value: Any) -> Written:
        found = parsed(form, str(value))
        if found is None:
            raise ValueError(value)
        return found

    return read


def _kind_of(value: Any) -> Any:
    return (value.has_clock, value.has_zone) if isinstance(value, Written) else None


def _quoted(rows: Sequence[tuple[int, Any]], limit: int = 5) -> str:
    more = ", ..." if len(rows) > limit else ""
    return ", ".join(f"row {row} {value!r}" for row, value in rows[:limit]) + more
