"""Whether one group of runs really predicts better than another: a paired bootstrap over the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finesweep.data.labels import MULTI, REGRESSION, SINGLE, TOKENS
from finesweep.metrics.intervals import COVERAGE
from finesweep.metrics.registry import LOSS
from finesweep.metrics.resampling import Measure, measure, times_of
from finesweep.metrics.scores import Scored
from finesweep.runs.labels import read_labels
from finesweep.runs.layout import RunFolder
from finesweep.system.records import read_table

if TYPE_CHECKING:
    from finesweep.data.labels import LabelSchema

NOT_TOLD = "not told apart"
RESAMPLES = 2000
# Of metrics that must be computed anew for each resample.
FEW_RESAMPLES = 500
# Numbers of rows that are drawn at a time.
MOST_DRAWN = 1_000_000
# What a loss is called where it can be computed from saved predictions; there is none for tokens.
AS_LOSS = {SINGLE: "log_loss", MULTI: "log_loss", REGRESSION: "mse"}


@dataclass(frozen=True)
class Difference:
    """How much better one group is than another.

    Args:
        mean: of the metric, first minus second.
        low: where 95% of the resampled differences begin.
        high: where they end.
        verdict: `better`, `worse`, or `not told apart`, of the first.
        rows: how many rows both predicted.
    """

    mean: float
    low: float
    high: float
    verdict: str
    rows: int


@dataclass(frozen=True)
class Answers:
    """A run's predictions of a split, beside the truth.

    Args:
        key: which rows they are: number, hash of the text and label of each, in order.
        scored: the predictions.
        schema: of the labels.
    """

    key: tuple[tuple[int, str, str], ...]
    scored: Scored
    schema: LabelSchema


def answers(folder: RunFolder, split: str) -> Answers | None:
    """Read a run's predictions of a split; None where it has none."""
    file = folder.predictions / f"{split}.parquet"
    if not file.is_file() or not folder.splits.is_file():
        return None
    table = read_table(file, ("id", "label", "predicted"))
    rows = read_table(folder.splits, ("split", "id", "hash"))
    found = zip(rows["split"], rows["id"], rows["hash"], strict=True)
    hashes = {number: text for name, number, text in found if name == split}
    labelled = zip(table["id"], table["label"], strict=True)
    key = tuple((number, hashes[number], repr(label)) for number, label in labelled)
    schema, _ = read_labels(folder)
    return Answers(key, _scored(table, schema), schema)


def difference(
    metric: str,
    first: Sequence[RunFolder],
    second: Sequence[RunFolder],
    split: str,
    *,
    maximizes: bool,
    seed: int = 0,
    resamples: int | None = None,
) -> Difference | None:
    """Compare two groups of runs by a metric of the rows that all of them predicted; None if they differ.

    Each resample draws rows with replacement, the same for all runs, and from each group as many of its
    runs as it has; so the interval covers other rows and other seeds (Efron and Tibshirani 1993). With one
    run in each group it covers rows alone.

    Args:
        metric: its name.
        first: one group.
        second: the other.
        split: `test` or `validation`.
        maximizes: whether more of it is better.
        seed: of the resamples.
        resamples: how many; left out, 2,000, or 500 where each must be computed anew.
    """
    (found,) = differences(
        metric, first, [second], split, maximizes=maximizes, seed=seed, resamples=resamples
    )
    return found


def differences(
    metric: str,
    first: Sequence[RunFolder],
    others: Sequence[Sequence[RunFolder]],
    split: str,
    *,
    maximizes: bool,
    seed: int = 0,
    resamples: int | None = None,
) -> list[Difference | None]:
    """Compare a group of runs with each of some others, on the same resamples; see `difference`."""
    found = [_read(one, split) for one in (first, *others)]
    keys = [{run.key for run in group} if group else set() for group in found]
    is_comparable = [len(keys[0]) == 1 and own == keys[0] for own in keys]
    groups = [group for group, is_one in zip(found, is_comparable, strict=True) if is_one and group]
    measured = _measured(metric, groups) if len(groups) > 1 else None
    if measured is None:
        return [None] * len(others)
    whole, resampled = _means(measured, seed, resamples)
    gaps = iter(range(1, len(groups)))
    return [
        _difference(whole, resampled, next(gaps), measured[0][0].rows, maximizes=maximizes)
        if is_one
        else None
        for is_one in is_comparable[1:]
    ]


def difference_of(metric: str, first: Answers, second: Answers, *, maximizes: bool) -> Difference | None:
    """Compare two models' answers to the same rows; None if the rows differ, or as for `differences`."""
    measured = _measured(metric, [[first], [second]]) if first.key == second.key else None
    if measured is None:
        return None
    whole, resampled = _means(measured, seed=0)
    return _difference(whole, resampled, 1, measured[0][0].rows, maximizes=maximizes)


def value_of(metric: str, found: Answers) -> float | None:
    """Return a metric of answers; None for a loss that predictions don't tell."""
    import numpy as np

    measured = _measured(metric, [[found]])
    return measured[0][0](np.arange(measured[0][0].rows)) if measured else None


def spread(
    metric: str, group: Sequence[RunFolder], split: str, seed: int = 0
) -> tuple[float, float, float] | None:
    """Return a group's mean of a metric and where 95% of its resamples lie; None as for `difference`.

    Rows and runs are drawn as `difference` draws them.
    """
    found = _read(group, split)
    measured = _measured(metric, [found]) if found and len({run.key for run in found}) == 1 else None
    if measured is None:
        return None
    whole, resampled = _means(measured, seed)
    return (float(whole[0]), *_middle(resampled[:, 0]))


def half_width(metric: str, folder: RunFolder, split: str) -> float | None:
    """Return half of the 95% interval of a run's metric over other rows alike; None where that is dear.

    Args:
        metric: its name.
        folder: the run's, with predictions of the split.
        split: `test` or `validation`.
    """
    found = _read([folder], split)
    measured = _measured(metric, [found]) if found else None
    if measured is None or not measured[0][0].is_fast:
        return None
    _, resampled = _means(measured, seed=0, resamples=FEW_RESAMPLES)
    low, high = _middle(resampled[:, 0])
    return (high - low) / 2 if high > low else None  # of answers that are all right, it knows nothing


def _read(group: Sequence[RunFolder], split: str) -> list[Answers] | None:
    """Return the predictions of a group's runs; None where one of them has none."""
    found = [answers(folder, split) for folder in group]
    known = [one for one in found if one is not None]
    return known if len(known) == len(found) else None


def _measured(metric: str, groups: Sequence[Sequence[Answers]]) -> list[list[Measure]] | None:
    """Return the metric of each group's runs; None for a loss that predictions don't tell."""
    schema = groups[0][0].schema
    name = AS_LOSS.get(schema.problem_type) if metric == LOSS else metric
    return [[measure(name, one.scored, schema) for one in group] for group in groups] if name else None


def _means(measured: list[list[Measure]], seed: int, resamples: int | None = None) -> tuple[Any, Any]:
    """Return each group's mean over its runs: of all rows (groups,), and of resamples (resamples, groups)."""
    import numpy as np

    random, count = np.random.default_rng(seed), measured[0][0].rows
    is_fast = all(measure.is_fast for some in measured for measure in some)
    missing = resamples or (RESAMPLES if is_fast else FEW_RESAMPLES)
    resampled = []
    while missing > 0:
        num = min(missing, max(1, MOST_DRAWN // count))
        rows, chosen = _drawn(random, count, measured, num)
        times = times_of(rows, count) if is_fast else None
        of_runs = [_of_runs(some, rows, times, runs) for some, runs in zip(measured, chosen, strict=True)]
        resampled.append(np.stack([values.mean(axis=1) for values in of_runs], axis=1))
        missing -= num
    whole = [np.mean([measure(np.arange(count)) for measure in some]) for some in measured]
    return np.array(whole), np.concatenate(resampled)


def _drawn(random: Any, count: int, measured: list[list[Measure]], num: int) -> tuple[Any, list[Any]]:
    """Draw resamples: of each the rows (num, count), and of each group as many runs as it has (num, runs)."""
    import numpy as np

    sizes = [len(some) for some in measured]
    if max(sizes) == 1:
        return random.integers(count, size=(num, count)), [np.zeros((num, 1), int)] * len(sizes)
    drawn = [
        (random.integers(count, size=count), [random.integers(size, size=size) for size in sizes])
        for _ in range(num)
    ]
    chosen = zip(*(runs for _, runs in drawn), strict=True)
    return np.stack([rows for rows, _ in drawn]), [np.stack(runs) for runs in chosen]


def _of_runs(some: list[Measure], rows: Any, times: Any, runs: Any) -> Any:
    """Return the metric of the runs that were drawn of a group, each on its resample's rows: (num, runs)."""
    import numpy as np

    fast = [measure.of_times for measure in some if measure.of_times]
    if times is None or len(fast) < len(some):
        return np.array([[some[i](own) for i in row] for own, row in zip(rows, runs, strict=True)])
    return np.take_along_axis(np.stack([of(times) for of in fast], axis=1), runs, axis=1)


def _difference(whole: Any, resampled: Any, place: int, rows: int, *, maximizes: bool) -> Difference:
    """Return the difference of the first group over the one at a place."""
    low, high = _middle(resampled[:, 0] - resampled[:, place])
    verdict = _verdict(low, high, maximizes=maximizes)
    return Difference(float(whole[0] - whole[place]), low, high, verdict, rows)


def _middle(values: Any) -> tuple[float, float]:
    import numpy as np

    low, high = np.nanquantile(values, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2]).tolist()
    return low, high


def _verdict(low: float, high: float, *, maximizes: bool) -> str:
    if low > 0:
        return "better" if maximizes else "worse"
    if high < 0:
        return "worse" if maximizes else "better"
    return NOT_TOLD


def _scored(table: dict[str, list[Any]], schema: LabelSchema) -> Scored:
    """Read a predictions file back, in label ids."""
    import numpy as np

    predicted, truth, kind = table["predicted"], table["label"], schema.problem_type
    if kind == TOKENS:
        return Scored(predicted, truth)
    if kind == REGRESSION:
        return Scored(np.array(predicted), np.array(truth))
    probabilities = np.array([table[f"p/{name}"] for name in schema.names]).T
    if kind == MULTI:
        return Scored(_indicators(predicted, schema.names), _indicators(truth, schema.names), probabilities)
    ids = {name: place for place, name in enumerate(schema.names)}
    return Scored(
        np.array([ids[name] for name in predicted]), np.array([ids[name] for name in truth]), probabilities
    )


def _indicators(rows: Sequence[Sequence[str]], names: Sequence[str]) -> Any:
    import numpy as np

    return np.array([[name in row for name in names] for row in rows], int)
