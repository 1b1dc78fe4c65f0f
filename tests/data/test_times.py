"""Splits by time: what is ordered, whatever it is written like, and what is refused."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from datasets import Dataset, DatasetDict

from finesweep.data import load_text_data
from finesweep.errors import DataError

DAYS = [datetime(2023, 1, 1, 14, 5) + timedelta(days=3 * i) for i in range(240)]


def rows(times, first: int = 0) -> Dataset:
    texts = [f"text {first + i}" for i in range(len(times))]
    return Dataset.from_dict({"text": texts, "label": ["a", "b"] * (len(times) // 2), "date": times})


def places(source, **split) -> dict[str, list[int]]:
    """Return which places in time each split's rows have; the rows are dealt out in another order."""
    data = load_text_data(source, split={"time": "date", **split})
    return {name: sorted(37 * row % 240 for row in part["id"][:]) for name, part in data.splits.items()}


def dealt(write) -> Dataset:
    return rows([write(DAYS[37 * i % 240]) for i in range(240)])


RIGHT = {
    "train": list(range(192)),
    "validation": list(range(192, 216)),
    "test": list(range(216, 240)),
}
OFFSETS = [timedelta(hours=hours) for hours in (-8, 0, 2, 13)]


@pytest.mark.parametrize(
    "write",
    [
        "{:%Y-%m-%d}".format,
        "{:%d/%m/%Y}".format,
        "{:%m/%d/%Y}".format,
        "{:%d.%m.%Y %H:%M}".format,
        "{:%m-%d-%Y %I:%M %p}".format,
        "{0.year}-{0.month}-{0.day}".format,
        "{0.year}/{0.month}/{0.day} 9:30".format,
        "{:%Y%m%d}".format,
        "{:%Y%m%dT%H%M%SZ}".format,
        "{:%b %d %Y}".format,
        "{:%B %d, %Y, %I:%M %p}".format,
        "{:%d-%b-%Y}".format,
        "{:%a, %d %b %Y %H:%M:%S GMT}".format,
        "{:%a %b %d %H:%M:%S +0000 %Y}".format,
        "{:%Y-%m-%d %H:%M:%S.%f UTC}".format,
        "{:%G-W%V-%u}".format,
        lambda day: day.timestamp(),
        lambda day: str(int(day.timestamp()) - 1_690_000_000),  # of other lengths, and some are negative
        lambda day: int(f"{day:%Y%m%d}"),
        lambda day: day,
        lambda day: day.date(),
        lambda day: day - DAYS[0],
        lambda day: day.replace(tzinfo=ZoneInfo("America/New_York")),
        lambda day: day.replace(tzinfo=UTC).astimezone(ZoneInfo(f"Etc/GMT+{day.day % 12}")).isoformat(),
    ],
)
def test_times_are_ordered_however_they_are_written(write):
    assert places(dealt(write)) == RIGHT


@pytest.mark.parametrize(
    ("write", "form"),
    [
        ("{:%d/%m/%y}".format, "%d/%m/%y"),
        ("{:%d%m%Y}".format, "%d%m%Y"),
        (lambda day: int(f"{day:%d%m%Y}"), "%d%m%Y"),  # the zero of the first days is lost
        ("on {:%d/%m/%Y}".format, "on %d/%m/%Y"),
        ("v{:%Y%m%d}".format, "text"),
        (lambda day: f"{day.timestamp():e}", "number"),
    ],
)
def test_a_format_says_how_times_are_written(write, form):
    with pytest.raises(DataError, match=r"data\.split\.time[\s\S]*data\.split\.time_format="):
        places(dealt(write))
    assert places(dealt(write), time_format=form) == RIGHT


@pytest.mark.parametrize(
    ("times", "said"),
    [
        (["01/02/2023", "03/04/2023"], "day and month, and as month and day"),
        (["01/02/23", "28/04/23"], "in no form"),
        (["2023-01-05", "31/01/2023"], "1 of 2 values are read as year-month-day.*row 1 '31/01/2023'"),
        (["13/01/2023", "01/13/2023"], "1 of 2 values"),
        (["2023-01-05", "2023-01-05 10:00"], "an hour or a UTC offset and others don't"),
        (["2023-01-05 10:00", "2023-01-05T10:00Z"], "an hour or a UTC offset and others don't"),
        (["2023-02-29", "2023-02-28"], "row 0 '2023-02-29'"),
        (["10:15", "11:15"], "in no form"),
        (["2023-01-05 10:00 CET", "2023-01-05 10:00 EST"], "in no form"),
        (["5 mai 2023", "6 mai 2023"], "in no form"),
        ([31012023, 1022023], "digits can be days"),
        (["310123", "010223"], "digits can be days"),
        ([2023.1, 2023.11], "years and months"),
        (["2023.9", "2023.10"], "years and months"),
        ([1_700_000_000, 1_600_000_000_000], "Seconds stand among milliseconds"),
        ([True, False], "no times: row 0 is True"),
        (["2023-01-05", " "], "have no time: row 1"),
        (["2023-01-05", "NA"], "have no time: row 1"),
        (["", None], "have no time: row"),
    ],
)
def test_what_is_not_surely_ordered_is_refused(times, said):
    repeated = times[:1] * 10 + times[1:] * 10 if said.startswith("have no time") else times
    with pytest.raises(DataError, match=rf"data\.split\.time[\s\S]*{said.removesuffix(': row 1')}"):
        load_text_data(rows(repeated), split={"time": "date"})


def test_the_hour_that_comes_twice_in_autumn_is_ordered_by_the_instant():
    begin, zone = datetime(2024, 10, 27, 0, 0, tzinfo=UTC), ZoneInfo("Europe/Berlin")
    times = [(begin + timedelta(minutes=20 * i)).astimezone(zone) for i in range(10)]  # 02:00 comes twice
    source = rows(times)
    data = load_text_data(source, split={"time": "date", "test": 0.6, "validation": 0.1})
    assert data.splits["train"]["id"][:] == [0, 1, 2]
    assert data.splits["test"]["id"][:] == [4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ({"time": "date", "time_format": "%d/%m"}, "no year"),
        ({"time": "date", "time_format": "%Y-%m-%d %Z"}, "%z"),
        ({"time_format": "%Y"}, "data.split.time too"),
        ({"time": "date", "time_format": "%Y-%m-%d"}, "aren't written as"),
    ],
)
def test_a_format_that_cannot_serve_is_refused(split, said):
    with pytest.raises(DataError, match=said):
        load_text_data(dealt("{:%d/%m/%Y}".format), split=split)


def test_a_given_split_that_is_earlier_than_train_is_told():
    later, earlier = ([f"{day:%d/%m/%Y}" for day in part] for part in (DAYS[100:], DAYS[60:102]))
    source = DatasetDict({"train": rows(later), "test": rows(earlier, 1000)})
    data = load_text_data(source, split={"time": "date"})
    assert any("42 of 42 test rows are earlier than rows of train" in warning for warning in data.warnings)
    with pytest.raises(DataError, match=r"data\.on_leak[\s\S]*earlier than rows of train"):
        load_text_data(source, split={"time": "date"}, on_leak="error")


def test_a_given_split_whose_times_are_unknown_is_told():
    aware = [day.replace(tzinfo=UTC) for day in DAYS[:40]]
    other = [rows(aware, 1000), rows([f"day {i}" for i in range(40)], 2000), rows(list(range(40)), 3000)]
    for test in (*other, other[0].remove_columns("date")):
        source = DatasetDict({"train": rows([f"{day:%Y-%m-%d}" for day in DAYS]), "test": test})
        data = load_text_data(source, split={"time": "date"})
        assert any("test has no column `date` that can be held against train's" in w for w in data.warnings)
