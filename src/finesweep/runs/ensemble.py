"""The best trials of a sweep as one model: which they are, and what their mean gains on validation."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from finesweep.data.labels import MULTI, TOKENS
from finesweep.errors import Fault, FinesweepError
from finesweep.metrics.registry import LOSS, metric_names
from finesweep.metrics.scores import averaged
from finesweep.metrics.thresholds import DEFAULT, tune_thresholds
from finesweep.runs.difference import Answers, Difference, answers, difference_of, value_of
from finesweep.runs.layout import RunFolder
from finesweep.runs.leaderboard import top_trials
from finesweep.runs.saved import SavedRun
from finesweep.runs.sealing import RECORDS, check_seal
from finesweep.system.records import RESULT, read_json, read_table
from finesweep.system.sweep_folder import SweepFolder

ALONE = "--top 1 takes the best trial alone."


@dataclass(frozen=True)
class Gain:
    """What an average of trials is worth on the validation split, beside the best of them.

    Args:
        metric: the objective.
        value: of the average.
        best: of the best trial alone.
        difference: between them, on the same rows.
    """

    metric: str
    value: float
    best: float
    difference: Difference

    def __str__(self) -> str:
        gap = self.difference
        return (
            f"On the {gap.rows:,} validation rows, by which the trials were chosen: {self.metric} "
            f"{self.value:.4f}; the best alone {self.best:.4f}. That is {gap.mean:+.4f} "
            f"({gap.low:+.4f} to {gap.high:+.4f}): {gap.verdict}."
        )


@dataclass(frozen=True)
class Ensemble:
    """Trials whose probabilities are averaged; of a regression their numbers.

    Args:
        sweep: whose trials they are.
        asked: how many were asked for.
        runs: by the trial's number, the best first.
    """

    sweep: SweepFolder
    asked: int
    runs: dict[int, SavedRun]

    @classmethod
    def open(cls, path: str | Path, count: int, trusted: Collection[str] = ()) -> Ensemble:
        """Open the best `count` complete trials of a sweep, or as many as are complete.

        Args:
            path: the sweep's folder.
            count: how many are asked for.
            trusted: targets, beyond finesweep's own, that their configs may call.

        Raises:
            FinesweepError: no sweep; none is complete; trials whose predictions can't be averaged.
        """
        path = Path(path).expanduser()
        found = {number: SavedRun.open(folder, trusted) for number, folder in top_trials(path, count).items()}
        if len(found) > 1:
            _check_alike(found)
        return cls(SweepFolder(path), count, found)

    @property
    def best(self) -> SavedRun:
        """The best trial's run."""
        return next(iter(self.runs.values()))

    @property
    def trials(self) -> tuple[int, ...]:
        """The trials' numbers, the best first."""
        return tuple(self.runs)

    @cached_property
    def thresholds(self) -> tuple[float, ...] | None:
        """The mean probability from which each of several labels is predicted; None of other tasks.

        Tuned on the validation split as a run's own are; where the trials' splits differ, the mean of theirs.
        """
        if self.best.schema.problem_type != MULTI or len(self.runs) == 1:
            return self.best.thresholds
        if self._validation:
            mean = averaged([one.scored for one in self._validation], self.best.schema)
            return tuple(tune_thresholds(mean.probabilities, mean.truth).tolist())
        usual = (DEFAULT,) * len(self.best.schema.names)
        columns = zip(*(run.thresholds or usual for run in self.runs.values()), strict=True)
        return tuple(sum(column) / len(column) for column in columns)

    @cached_property
    def gain(self) -> Gain | None:
        """What the mean gains on validation; None of one trial, of other rows, or where files don't tell."""
        objective = read_json(self.best.folder.result, RESULT)["objective"]
        metric, known = objective["metric"], (*metric_names(), LOSS)
        if len(self.runs) == 1 or not self._validation or metric not in known:
            return None
        first, schema = self._validation[0], self.best.schema
        mean = Answers(first.key, averaged([one.scored for one in self._validation], schema), schema)
        gap = difference_of(metric, mean, first, maximizes=objective["direction"] == "maximize")
        value, alone = value_of(metric, mean), value_of(metric, first)
        return None if gap is None or value is None or alone is None else Gain(metric, value, alone, gap)

    def sentences(self) -> tuple[str, ...]:
        """Say which trials are averaged, and what that gains."""
        numbers = ", ".join(map(str, self.trials))
        said = f"Mean of trials {numbers}." if len(self.runs) > 1 else f"Trial {numbers} alone."
        if len(self.runs) < self.asked:
            said += f" {self.asked} were asked for; no more are complete."
        if len(self.runs) == 1:
            return (said,)
        unknown = "What that gains on validation isn't known: "
        why = "its metric is code of your own" if self._validation else "the trials had different rows there"
        return (said, str(self.gain) if self.gain else f"{unknown}{why}.")

    def check_rows(self, split: str) -> None:
        """Refuse a split of other rows for each trial: some would have been trained with them.

        Raises:
            FinesweepError: which trials differ.
        """
        rows = {number: _rows_of(run.folder, split) for number, run in self.runs.items()}
        first = self.trials[0]
        if others := [number for number in self.trials if rows[number] != rows[first]]:
            rule = f"Trials {first} and {others[0]} have different {split} splits, so each may have been"
            rule += " trained with what the other is asked about."
            fix = f"Name a file with labels, or take one trial: {ALONE}"
            raise FinesweepError(Fault("--top", rule, self.asked, fix=fix))

    @cached_property
    def _validation(self) -> list[Answers]:
        """Each trial's predictions of the validation split; nothing where they are of different rows."""
        for run in self.runs.values():
            check_seal(run.folder, RECORDS)
        found = [answers(run.folder, "validation") for run in self.runs.values()]
        known = [one for one in found if one is not None]
        return known if len(known) == len(found) and len({one.key for one in known}) == 1 else []


def _check_alike(runs: dict[int, SavedRun]) -> None:
    """Refuse trials whose predictions can't be averaged.

    Raises:
        FinesweepError: with the trials, and what they differ in.
    """
    (first, best), *others = runs.items()
    if best.schema.problem_type == TOKENS:
        rule = "Tags of words can't be averaged: a sentence's probabilities are kept for its best tags alone."
        raise FinesweepError(Fault("--top", rule, len(runs), fix=ALONE))
    for number, run in others:
        kind, labels = run.schema.problem_type, ", ".join(run.schema.names)
        if (kind, run.schema.names) != (best.schema.problem_type, best.schema.names):
            rule = f"Trials {first} and {number} predict different labels: {', '.join(best.schema.names)}"
            raise FinesweepError(Fault("--top", f"{rule}; {labels}.", len(runs), fix=ALONE))
        if run.text_columns != best.text_columns:
            read = f"{', '.join(best.text_columns)}; {', '.join(run.text_columns)}"
            rule = f"Trials {first} and {number} read different columns: {read}."
            raise FinesweepError(Fault("--top", rule, len(runs), fix=ALONE))


def _rows_of(folder: RunFolder, split: str) -> set[tuple[int, str]]:
    table = read_table(folder.splits, ("split", "id", "hash"))
    rows = zip(table["split"], table["id"], table["hash"], strict=True)
    return {(number, text) for name, number, text in rows if name == split}
