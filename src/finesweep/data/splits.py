"""Splits that depend on the rows' content and a seed, and on nothing else."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from finesweep.data import times
from finesweep.data.checks import listed
from finesweep.data.spelling import normalized, normalized_name
from finesweep.errors import DataError, Fault, nearest

if TYPE_CHECKING:
    from finesweep.data.rows import Rows

# Row numbers that must stay together.
Unit = list[int]


@dataclass(frozen=True)
class SplitSettings:
    """How splits that a source lacks are cut from train.

    Args:
        validation: share of train.
        test: share of train.
        seed: another seed gives other splits. It is apart from a run's seed.
        group: a column; rows with the same value stay on one side.
        time: a column; the latest rows are the test split, those before them the validation split.
        time_format: how its texts are written, as strptime has it; `number`; `text`, by their letters.
        folds: cut validation as one of so many equal parts, for cross-validation.
        fold: which of them, from 0.
    """

    validation: float = 0.1
    test: float = 0.1
    seed: int = 0
    group: str | None = None
    time: str | None = None
    time_format: str | None = None
    folds: int | None = None
    fold: int = 0

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> SplitSettings:
        """Read the mapping of a config.

        Raises:
            DataError: one fault for each mistake.
        """
        faults = list(split_faults(settings))
        if faults:
            raise DataError(*faults)
        return cls(**settings)


def split_faults(settings: Mapping[str, Any]) -> Iterator[Fault]:
    """Say what is wrong with the mapping `data.split`."""
    names = tuple(field.name for field in fields(SplitSettings))
    for name, value in settings.items():
        key = f"data.split.{name}"
        if name not in names:
            yield Fault(key, f"There is no such key. {nearest(name, names)}".strip(), value, valid=names)
        elif name in ("validation", "test") and not (_is_number(value) and 0 < value < 1):
            yield Fault(key, "A split is a share of train: above 0 and below 1.", value)
        elif name in ("group", "time") and not (value is None or isinstance(value, str)):
            yield Fault(key, "It names a column.", value)
        elif name == "time_format" and value is not None and (rule := times.format_fault(str(value))):
            yield Fault(key, rule, value, fix="For 31/01/2023 14:30 it is '%d/%m/%Y %H:%M'.")
        elif name in ("seed", "fold") and not (isinstance(value, int) and value >= 0):
            yield Fault(key, "It must be a whole number, 0 or more.", value)
        elif name == "folds" and not (value is None or (isinstance(value, int) and value >= 2)):
            yield Fault(key, "It must be a whole number, 2 or more.", value)
    folds, fold = settings.get("folds"), settings.get("fold", 0)
    if isinstance(folds, int) and isinstance(fold, int) and fold >= folds:
        yield Fault("data.split.fold", f"Folds count from 0; there are {folds}.", fold)
    if settings.get("time_format") is not None and not settings.get("time"):
        rule = "It says how the column data.split.time is written, and none is named."
        yield Fault("data.split.time_format", rule, settings["time_format"], fix="Set data.split.time too.")
    if settings.get("time") and (settings.get("group") or folds):
        rule = "A split by time can't keep groups together or be cut into folds."
        yield Fault("data.split.time", rule, settings["time"], fix="Set only one of time, group and folds.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def make_splits(
    rows: Rows, strata: Sequence[Hashable], wanted: Sequence[str], settings: SplitSettings
) -> dict[str, list[int]]:
    """Cut the splits that are wanted from train's rows; what is left is `train`.

    Args:
        rows: train's, with the columns `group` and `time` where the settings name them.
        strata: (rows,), what a split keeps in proportion; see LabelReader.strata.
        wanted: of validation and test, those that the source lacks.
        settings: shares, seed and the rest.

    Returns:
        Row numbers in ascending order for train and each wanted split.

    Raises:
        DataError: a split would be empty, or rows have no time or group.
    """
    _check_extra(rows)
    shares = {name: getattr(settings, name) for name in wanted}
    if settings.time:
        return _by_time(rows.extra["time"], shares)
    contents, keys = rows.contents, rows.keys
    if settings.group:
        contents = [str(value) for value in rows.extra["group"]]
        keys, strata = [normalized_name(value) for value in contents], [0] * len(rows)
    if settings.folds is None:
        return stratified_split(contents, strata, shares, settings.seed, keys)
    if "validation" not in wanted:
        rule = "Folds are made of train's rows, and the source has a validation split of its own."
        fix = "Leave that split out of data.source, or data.split.folds=null."
        raise DataError(Fault("data.split.folds", rule, settings.folds, fix=fix))
    shares.pop("validation")
    splits = stratified_split(contents, strata, shares, settings.seed, keys)
    return _fold(splits, contents, strata, settings, keys)


def stratified_split(
    contents: Sequence[str],
    labels: Sequence[Hashable],
    shares: Mapping[str, float],
    seed: int,
    keys: Sequence[str] | None = None,
) -> dict[str, list[int]]:
    """Cut shares of the rows into splits of their own; what is left is `train`.

    Within each label, rows are ordered by a hash of the seed and their content, and the first ones
    go to the splits. So the same rows give the same splits whatever their order in the file, and
    copies of one text, case and white space aside, land on the same side.

    Args:
        contents: (rows,), the text of each row, or the name of its group.
        labels: (rows,).
        shares: the share of all rows for each split to make, such as {"validation": 0.1}.
        seed: another seed gives another split.
        keys: (rows,), rows with the same one stay together; the normalised contents when left out.

    Returns:
        Row numbers in ascending order for train and each split.

    Raises:
        DataError: a split would be empty.
    """
    splits: dict[str, list[int]] = {name: [] for name in (*shares, "train")}
    owed = dict.fromkeys(
        shares, 0.0
    )  # so that many small strata, each too small for a row, give some together
    for units in _ordered_units(contents, labels, seed, keys).values():
        total, start = sum(map(len, units)), 0
        for name, share in shares.items():
            owed[name] += share * total
            end = _take(units, start, round(owed[name]), splits[name])
            owed[name] -= sum(map(len, units[start:end]))
            start = end
        for unit in units[start:]:
            splits["train"] += unit
    return _none_empty({name: sorted(rows) for name, rows in splits.items()}, shares, len(contents))


def limited(contents: Sequence[str], labels: Sequence[Hashable], limit: float, seed: int) -> list[int]:
    """Return the numbers of the rows that stay when only some are wanted; a smaller limit's are among them.

    Each label's first row comes before the second of any, as long as there is room.

    Args:
        contents: (rows,).
        labels: (rows,), kept in proportion.
        limit: a number of rows, or a share below 1.
        seed: another seed gives other rows.
    """
    places: list[tuple[float, bytes, int]] = []
    for units in _ordered_units(contents, labels, seed).values():
        rows = [row for unit in units for row in sorted(unit, key=contents.__getitem__)]
        places += [
            ((i + 0.5) / len(rows) if i else 0.0, _key(contents[row], seed), row)
            for i, row in enumerate(rows)
        ]
    count = int(limit) if limit >= 1 else max(1, round(limit * len(contents)))
    return sorted(row for _, _, row in sorted(places)[:count])


def row_hashes(contents: Sequence[str]) -> list[str]:
    """Return a short hash of each row's text, which tells a split's rows from any others."""
    return [_key(content, 0).hex()[:16] for content in contents]


def _fold(
    splits: dict[str, list[int]],
    contents: Sequence[str],
    strata: Sequence[Hashable],
    settings: SplitSettings,
    keys: Sequence[str],
) -> dict[str, list[int]]:
    rows, folds = splits["train"], settings.folds or 1
    parts: list[list[int]] = [[] for _ in range(folds)]
    units = _ordered_units(
        [contents[row] for row in rows],
        [strata[row] for row in rows],
        settings.seed,
        [keys[row] for row in rows],
    )
    for some in units.values():
        total, done = sum(map(len, some)), 0
        for unit in some:
            parts[done * folds // total] += [rows[i] for i in unit]
            done += len(unit)
    kept = [row for i, part in enumerate(parts) if i != settings.fold for row in part]
    whole = {**splits, "validation": sorted(parts[settings.fold]), "train": sorted(kept)}
    return _none_empty(whole, {"validation": 1 / folds}, len(contents))


def _by_time(times: Sequence[Any], shares: Mapping[str, float]) -> dict[str, list[int]]:
    """Cut from the end: test is later than validation, that later than train; equal times stay together."""
    order = sorted(range(len(times)), key=lambda row: times[row])
    splits, end = {}, len(order)
    for name in (name for name in ("test", "validation") if name in shares):
        start = max(end - round(shares[name] * len(order)), 0)
        while 0 < start < end and times[order[start - 1]] == times[order[start]]:
            start -= 1
        splits[name] = sorted(order[start:end])
        end = start
    return _none_empty({**splits, "train": sorted(order[:end])}, shares, len(order))


def _ordered_units(
    contents: Sequence[str], strata: Sequence[Hashable], seed: int, keys: Sequence[str] | None = None
) -> dict[Hashable, list[Unit]]:
    """Return each stratum's rows that stay together, in an order that the seed and the content decide.

    A unit with several strata belongs to its most frequent one.
    """
    copies: dict[str, Unit] = defaultdict(list)
    for row, key in enumerate(keys or map(normalized, contents)):
        copies[key].append(row)
    units: dict[Hashable, list[tuple[bytes, Unit]]] = defaultdict(list)
    for rows in copies.values():
        counts = Counter(strata[row] for row in rows)
        stratum = max(counts, key=lambda value: (counts[value], str(value)))
        units[stratum].append((_key(min(contents[row] for row in rows), seed), rows))
    order = sorted(units, key=lambda stratum: (-len(units[stratum]), str(stratum)))
    return {stratum: [rows for _, rows in sorted(units[stratum])] for stratum in order}


def _take(units: Sequence[Unit], start: int, count: int, into: list[int]) -> int:
    taken = 0
    while taken < count and start < len(units):
        into += units[start]
        taken += len(units[start])
        start += 1
    return start


def _none_empty(
    splits: dict[str, list[int]], shares: Mapping[str, float], count: int
) -> dict[str, list[int]]:
    for name, rows in splits.items():
        if not rows:
            share = shares.get(name, 1 - sum(shares.values()))
            rule = f"The {name} split would be empty: {share:.3g} of {count} rows, cut label by label."
            key = f"data.split.{name}" if name in shares else "data.split"
            raise DataError(Fault(key, rule, fix="Raise its share, or bring more rows."))
    return splits


def _check_extra(rows: Rows) -> None:
    for name, values in rows.extra.items():
        missing = [
            number for number, value in zip(rows.ids, values, strict=True) if value is None or value != value
        ]
        if missing:
            rule = f"{len(missing)} of {len(rows)} rows of the train split have no {name}: {listed(missing)}"
            raise DataError(Fault(f"data.split.{name}", rule, fix="Rows count from 0."))


def _key(content: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{content}".encode("utf-8", "surrogatepass")).digest()
