"""What a sweep leaves beside its trials: leaderboard.csv and best.yaml."""

from __future__ import annotations

import csv
import io
import statistics
import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep.config.authorship import is_own, marked
from finesweep.config.saved import HYDRA_SETTINGS, read_config, to_yaml
from finesweep.runs.layout import RunFolder
from finesweep.runs.leaderboard import final_folder
from finesweep.runs.outcome import HALF_WIDTHS
from finesweep.sweeps.attributes import ERROR, REMEMBERED
from finesweep.sweeps.outline import FINALIST, SEED
from finesweep.sweeps.plan import Plan
from finesweep.sweeps.study import Study
from finesweep.system.files import write_text
from finesweep.system.paths import typed
from finesweep.system.records import read_json

if TYPE_CHECKING:
    from optuna.study import Study as OptunaStudy
    from optuna.trial import FrozenTrial

YES_NO = {True: "yes", False: "no", None: ""}
# Trials that differ in these alone are one configuration, and their differences are luck.
FOLD = "data.split.fold"
LUCK = (SEED, FOLD)

HEADER_WIDTH = 100
HALF_WIDTH = "half_width"  # of the objective's 95% interval over other rows
BEST_HEADER = """\
# {what}, as a complete config. Run it again, tested:
#   python train.py --config-path {folder} --config-name best
# It differs from the sweep's base config in:  {changes}
{verdict}"""


@dataclass(frozen=True)
class Repeats:
    """The trials of one configuration: its folds, its seeds, or both.

    Args:
        of: `folds`, `seeds` or `runs`, for a heading.
        values: the objective of each.
    """

    of: str
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Of the objective."""
        return statistics.mean(self.values)

    def columns(self) -> dict[str, Any]:
        """Return what the leaderboard says of them."""
        deviation = statistics.stdev(self.values) if len(self.values) > 1 else ""
        return {self.of: len(self.values), f"{self.of}_mean": self.mean, f"{self.of}_sd": deviation}

    def __str__(self) -> str:
        return f"mean of {len(self.values)} {self.of} {self.mean:.4f}"


def ranked(study: Study) -> list[FrozenTrial]:
    """Return the complete trials, best first; with several objectives, the Pareto front first.

    Over folds or seeds a trial is worth its configuration's mean, those with the most runs first: the best of
    single runs would be the luckiest.
    """
    return ranked_trials(study.optuna)


def ranked_trials(study: OptunaStudy) -> list[FrozenTrial]:
    """Return the same of Optuna's own study."""
    complete = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
    directions = study.directions
    if len(directions) == 1:
        sign, repeats = -1 if directions[0].name == "MAXIMIZE" else 1, repeats_of(complete)

        def place(trial: FrozenTrial) -> tuple[float, ...]:
            own = repeats.get(trial.number, Repeats("", (trial.values[0],)))
            return -len(own.values), sign * own.mean, sign * trial.values[0], trial.number

        return sorted(complete, key=place)
    front = front_of(study)
    return sorted(complete, key=lambda trial: (trial.number not in front, trial.number))


def front_of(study: OptunaStudy) -> frozenset[int]:
    """Return the numbers of the Pareto front; nothing with one objective."""
    several = len(study.directions) > 1
    return frozenset(trial.number for trial in study.best_trials) if several else frozenset()


def pruned(study: Study) -> list[FrozenTrial]:
    """Return the pruned trials by the value they had when they were stopped, best first."""
    directions = study.optuna.directions
    if len(directions) > 1:
        return []
    sign = -1 if directions[0].name == "MAXIMIZE" else 1
    ended = [trial for trial in study.trials("PRUNED") if trial.values]
    return sorted(ended, key=lambda trial: sign * trial.values[0])


def write_leaderboard(plan: Plan, study: Study, told_apart: Mapping[int, bool] | None = None) -> Path:
    """Write leaderboard.csv: every trial, the ranked ones first, then the others by number.

    Args:
        plan: the sweep.
        study: its trials.
        told_apart: by number, whether the best trial is better than luck explains.
    """
    order = ranked(study)
    rest = [trial for trial in study.trials() if trial not in order]
    repeats = {number: own.columns() for number, own in repeats_of(order).items()}
    front = front_of(study.optuna)
    rows = [{**_row(plan, trial, front), **repeats.get(trial.number, {})} for trial in [*order, *rest]]
    for row in rows if told_apart else []:
        row["told_apart"] = YES_NO[(told_apart or {}).get(row["number"])]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    metrics = [column for column in columns if column.startswith(("validation/", "test/"))]
    last = ["error"] if "error" in columns else []
    columns = [column for column in columns if column not in (*metrics, *last)] + metrics + last
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path = plan.files.leaderboard
    write_text(path, text.getvalue())
    return path


def configurations(complete: Sequence[FrozenTrial]) -> list[list[FrozenTrial]]:
    """Return the trials in groups that differ in seed or fold alone, each where its first one was."""
    groups: dict[str, list[FrozenTrial]] = {}
    for trial in complete:
        params = sorted((key, value) for key, value in trial.params.items() if key not in LUCK)
        groups.setdefault(repr(params), []).append(trial)
    return list(groups.values())


def repeats_of(complete: Sequence[FrozenTrial]) -> dict[int, Repeats]:
    """Return, by number, what there is of a trial's configuration where the sweep varied seed or fold."""
    found = {}
    for trials in configurations([trial for trial in complete if len(trial.values) == 1]):
        varied = {key for trial in trials for key in LUCK if key in (*trial.params, *_of_finalist(trial))}
        if varied:
            of = "runs" if len(varied) > 1 else "folds" if FOLD in varied else "seeds"
            own = Repeats(of, tuple(trial.values[0] for trial in trials))
            found |= {trial.number: own for trial in trials}
    return found


def _of_finalist(trial: FrozenTrial) -> dict[str, Any]:
    """Return a finalist's seed and whom it repeats; nothing of a search's own trial."""
    return {key: trial.user_attrs[key] for key in (FINALIST, SEED) if FINALIST in trial.user_attrs}


def origin(trial: FrozenTrial) -> str:
    """Say where a trial's point comes from: an earlier sweep, or the trial that it repeats; else nothing."""
    about = trial.user_attrs
    if FINALIST in about:
        return f"finalist: trial {about[FINALIST]} with seed {about[SEED]}"
    return str(about.get(REMEMBERED, ""))


def seed_of(trial: FrozenTrial) -> int | None:
    """Return the seed that a trial was given; None where it had the config's."""
    return trial.params.get(SEED, _of_finalist(trial).get(SEED))


def write_best(plan: Plan, best: FrozenTrial, front: Collection[int] = (), verdict: str = "") -> Path | None:
    """Write best.yaml, a complete config that also reads the test split.

    Args:
        plan: the sweep.
        best: the trial.
        front: numbers of the Pareto front that it was taken from, when there are several objectives.
        verdict: how it stands to the config as it stood, for the header.
    """
    folder = RunFolder(plan.trial_folder(best.number))
    if not folder.config.is_file():  # the job was not finesweep's own
        return None
    config = {**read_config(folder.config), "test": True}
    seed = {key: value for key, value in _of_finalist(best).items() if key == SEED}
    changes = "  ".join(f"{key}={value}" for key, value in {**best.params, **seed}.items()) or "nothing"
    what = _what_is_best(best.number, sorted(front))
    header = BEST_HEADER.format(
        what=what, folder=typed(plan.folder), changes=changes, verdict=_commented(verdict)
    )

    path = plan.files.best
    text = header + to_yaml({**HYDRA_SETTINGS, **config})
    write_text(path, marked(text) if is_own(folder.config) else text)
    return path


def _commented(text: str) -> str:
    return "".join(f"# {line}\n" for line in textwrap.wrap(text, HEADER_WIDTH))


def _what_is_best(number: int, front: Sequence[int]) -> str:
    if not front:
        return f"The best trial of this sweep, number {number}"
    others = ", ".join(str(one) for one in front if one != number) or "no other"
    return f"Trial {number}, the first of the Pareto front and no better than its others ({others})"


def trial_result(folder: Path) -> dict[str, Any]:
    """Read a trial's result.json; empty where the trial has none."""
    file = RunFolder(folder).result
    return read_json(file) if file.is_file() else {}


def _row(plan: Plan, trial: FrozenTrial, front: Collection[int]) -> dict[str, Any]:
    result = trial_result(plan.trial_folder(trial.number))
    attributes = trial.user_attrs
    values = trial.values or []
    names = plan.settings.objectives or ["objective"]
    row: dict[str, Any] = {"number": trial.number, "state": trial.state.name.lower()}
    if len(plan.settings.directions) > 1:
        row["front"] = str(trial.number in front).lower()
    row |= {name: values[i] if i < len(values) else "" for i, name in enumerate(names)}
    row |= trial.params
    metric = result.get("objective", {}).get("metric")
    if width := result.get(HALF_WIDTHS, {}).get(f"validation/{metric}"):
        row[HALF_WIDTH] = width
    row |= {
        "trainable": result.get("parameters", {}).get("trainable", ""),
        "duration_s": attributes.get("duration_s", ""),
        "folder": attributes.get("folder", ""),
    }
    row |= _of_finalist(trial)
    row |= {REMEMBERED: attributes[REMEMBERED]} if REMEMBERED in attributes else {}
    row |= result.get("metrics", {})
    final = trial_result(final_folder(plan.files, trial.number)).get("metrics", {})
    row |= {name: value for name, value in final.items() if name.startswith("test/")}
    if ERROR in attributes:
        row["error"] = attributes[ERROR]
    return row
