"""Times that are written as texts: the forms that are known, and what each says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september",
          "october", "november", "december")  # fmt: skip

CLOCK = (
    r"(?:(?:T|,? +)(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d+))?)?"
    r"(?: ?(?P<half>[ap])\.?m\.?)?"
    r"(?: ?(?P<zone>Z|(?:UTC|GMT)?[+-]\d{2}:?(?:\d{2})?|UTC|GMT)(?: \([\w ]+\))?)?)?"
)
WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,? +)?"
NAME = r"(?P<name>[a-z]{3,9})\.?"
DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
WRITTEN = {
    "numbers": r"(?P<number>-?\d+(?:\.\d+)?)",
    "year-month-day": r"(?P<year>\d{4})([-/.])(?P<month>\d{1,2})\2(?P<day>\d{1,2})" + CLOCK,
    "year-month": r"(?P<year>\d{4})[-/](?P<month>\d{1,2})",
    "year and quarter": r"(?P<year>\d{4})[- ]?Q(?P<quarter>[1-4])",
    "year and week": r"(?P<year>\d{4})-?W(?P<week>\d{2})(?:-?(?P<weekday>[1-7]))?",
    "year, month, day, T, time": r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)"
    r"T(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)?(?P<zone>Z|[+-]\d{2}:?(?:\d{2})?)?",
    "month's name, day, year": rf"{WEEKDAY}{NAME} +{DAY},? +(?P<year>\d{{4}}){CLOCK}",
    "day, month's name, year": rf"{WEEKDAY}{DAY}\.?[- ]+{NAME},?[- ]+(?P<year>\d{{4}}){CLOCK}",
    "month's name, day, time, year": rf"{WEEKDAY}{NAME} +{DAY}{CLOCK} +(?P<year>\d{{4}})",
    "day/month/year": r"(?P<day>\d{1,2})([-/.])(?P<month>\d{1,2})\2(?P<year>\d{4})" + CLOCK,
    "month/day/year": r"(?P<month>\d{1,2})([-/.])(?P<day>\d{1,2})\2(?P<year>\d{4})" + CLOCK,
}
FORMS = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in WRITTEN.items()}


@dataclass(frozen=True)
class Written:
    """A time that was a text, and how much of it was written."""

    moment: Any
    has_clock: bool = False
    has_zone: bool = False


def parsed(form: re.Pattern[str], text: str) -> Written | None:
    """Read a text that is written in a form; None where it isn't, or names no day that there is."""
    match = form.fullmatch(" ".join(text.split()))
    if match is None:
        return None
    part = {name: value for name, value in match.groupdict().items() if value is not None}
    try:
        return Written(_moment(part), "hour" in part, "zone" in part)
    except ValueError:
        return None


def _moment(part: dict[str, str]) -> Any:
    if "number" in part:
        return number_of(part["number"])
    if "week" in part:
        return datetime.fromisocalendar(int(part["year"]), int(part["week"]), int(part.get("weekday", 1)))
    month = _month(part["name"]) if "name" in part else int(part.get("month", 1))
    month = 3 * int(part["quarter"]) - 2 if "quarter" in part else month
    hour = int(part.get("hour", 0))
    if "half" in part:
        if not 1 <= hour <= 12:
            raise ValueError(hour)
        hour = hour % 12 + 12 * (part["half"].lower() == "p")
    minute, second = int(part.get("minute", 0)), int(part.get("second", 0))
    microsecond = int(part.get("fraction", "0")[:6].ljust(6, "0"))
    moment = datetime(int(part["year"]), month, int(part.get("day", 1)), hour, minute, second, microsecond)
    return in_utc(moment.replace(tzinfo=_zone(part["zone"]))) if "zone" in part else moment


def number_of(value: Any) -> int | float:
    """Return a number that was a text, whole ones exactly."""
    return int(value) if isinstance(value, int) or str(value).strip().isdigit() else float(value)


def _month(name: str) -> int:
    """Return the number of a month that is called in English, in full or by its first letters."""
    for number, month in enumerate(MONTHS, start=1):
        if month.startswith(name.lower()):
            return number
    raise ValueError(name)


def _zone(text: str) -> timezone:
    digits = re.sub(r"[^\d]", "", text).ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if "-" in text else offset)


def in_utc(moment: datetime) -> datetime:
    """Return a moment that compares with others of its zone: the wall clock's hour comes twice in autumn."""
    return moment if moment.tzinfo is None else moment.astimezone(UTC)
