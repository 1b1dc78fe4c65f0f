"""What a sweep over folds says of rows that its models weren't trained with."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep.commands.evaluate import figures, rows
from finesweep.config.saved import CIRCUMSTANCES, read_config
from finesweep.data.labels import SINGLE, LabelSchema
from finesweep.errors import Fault, FinesweepError
from finesweep.runs.difference import answers
from finesweep.runs.layout import RunFolder
from finesweep.runs.leaderboard import complete_rows
from finesweep.runs.saved import SavedRun
from finesweep.runs.sealing import RECORDS, check_seal
from finesweep.system.records import damaged
from finesweep.system.sweep_folder import SweepFolder
from finesweep.trackers.base import flattened

if TYPE_CHECKING:
    import numpy as np

WHERE, FOLDS, FOLD = "--label-errors", "data.split.folds", "data.split.fold"
LUCK = ("seed", FOLD)  # trials that differ in these alone are one configuration
A_SWEEP_OVER_FOLDS = (
    "python train.py -m data.split.folds=5 data.split.fold=0,1,2,3,4 hydra/sweeper/sampler=grid "
    "hydra/sweeper/pruner=none hydra.sweeper.n_trials=5"
)


@dataclass(frozen=True)
class HeldOut:
    """Rows, and what the models of other folds say of them.

    Args:
        schema: of the labels.
        trials: numbers of the trials whose predictions they are.
        missing: folds without a complete trial, whose rows are left out.
        ids: the rows' numbers in the source.
        texts: what they read.
        folds: which fold each is of.
        given: (rows,) label ids.
        probabilities: (rows, labels), the mean over trials of other seeds.
    """

    schema: LabelSchema
    trials: tuple[int, ...]
    missing: tuple[int, ...]
    ids: list[int]
    texts: list[str]
    folds: list[int]
    given: np.ndarray
    probabilities: np.ndarray


def read_held_out(path: Path, trusted: Collection[str] = ()) -> HeldOut:
    """Put together the validation predictions of the best configuration's folds.

    Args:
        path: the sweep's folder.
        trusted: targets, beyond finesweep's own, that its configs may call.

    Raises:
        FinesweepError: no sweep over folds, labels of another kind, or data that have changed.
    """
    import numpy as np

    by_fold, num_folds = _trials_by_fold(SweepFolder(path), path)
    parts = [_of_fold(SweepFolder(path), fold, by_fold[fold], trusted) for fold in sorted(by_fold)]
    return HeldOut(
        schema=parts[0].schema,
        trials=tuple(sorted(number for some in by_fold.values() for number in some)),
        missing=tuple(fold for fold in range(num_folds) if fold not in by_fold),
        ids=[number for part in parts for number in part.ids],
        texts=[text for part in parts for text in part.texts],
        folds=[fold for part in parts for fold in part.folds],
        given=np.concatenate([part.given for part in parts]),
        probabilities=np.concatenate([part.probabilities for part in parts]),
    )


def _trials_by_fold(sweep: SweepFolder, path: Path) -> tuple[dict[int, list[int]], int]:
    """Return the complete trials of the best configuration by their fold, and how many folds there are.

    Raises:
        FinesweepError: it isn't over folds.
    """
    numbers = [int(row["number"]) for row in complete_rows(sweep)] if sweep.leaderboard.is_file() else []
    configs = {number: _flat_config(sweep, number) for number in numbers}
    alike = [number for number in numbers if _settings(configs[number]) == _settings(configs[numbers[0]])]
    found: dict[int, list[int]] = {}
    for number in alike:
        if configs[number].get(FOLDS):
            found.setdefault(int(configs[number][FOLD]), []).append(number)
    if len(found) < 2:
        why = f"its best configuration has {len(found)} of them" if found else "this is none"
        rule = "It needs a sweep over folds, where each row is predicted by a model that wasn't trained with"
        raise FinesweepError(Fault(WHERE, f"{rule} it; {why}.", str(path), fix=A_SWEEP_OVER_FOLDS))
    return found, int(configs[alike[0]][FOLDS])


def _flat_config(sweep: SweepFolder, number: int) -> dict[str, Any]:
    return dict(flattened(read_config(RunFolder(sweep.trial(number)).config)))


def _settings(config: dict[str, Any]) -> dict[str, Any]:
    """Return what makes a configuration: all but its luck and its circumstances."""
    free = (*LUCK, *CIRCUMSTANCES)
    return {key: value for key, value in config.items() if key not in free and key.split(".")[0] not in free}


def _of_fold(sweep: SweepFolder, fold: int, numbers: list[int], trusted: Collection[str]) -> HeldOut:
    """Read a fold's rows, and the mean of what its trials predict for them.

    Raises:
        FinesweepError: labels of another kind, data that have changed, or files that aren't as they were.
    """
    import numpy as np

    runs = [SavedRun.open(sweep.trial(number)) for number in numbers]
    schema = runs[0].schema
    if schema.problem_type != SINGLE:
        rule = f"The rule is one for a single label in each row; these are {schema.problem_type}."
        raise FinesweepError(Fault(WHERE, rule.replace("_", " "), str(sweep.path)))
    labelled = rows.of_split(runs[0], "validation", trusted=trusted)
    each = []
    for run in runs:
        check_seal(run.folder, RECORDS)
        found = answers(run.folder, "validation")
        if found is None or [number for number, _, _ in found.key] != labelled.ids:
            raise damaged(
                run.folder.predictions, "missing, or of other rows than its fold's", run.folder.path
            )
        each.append(found.scored.probabilities)
    return HeldOut(
        schema=schema,
        trials=tuple(numbers),
        missing=(),
        ids=labelled.ids,
        texts=[figures.text_of(labelled, row) for row in range(len(labelled.ids))],
        folds=[fold] * len(labelled.ids),
        given=np.asarray(labelled.truth),
        probabilities=np.mean(each, axis=0),
    )
