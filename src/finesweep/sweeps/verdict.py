"""How a sweep's winner stands to the config as it stood and to the other trials, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from finesweep.runs.difference import NOT_TOLD, Difference, differences
from finesweep.runs.layout import RunFolder
from finesweep.sweeps.results import LUCK, configurations, ranked_trials, trial_result
from finesweep.system.records import DamagedFile
from finesweep.system.sweep_folder import SweepFolder

if TYPE_CHECKING:
    from optuna.study import Study as OptunaStudy
    from optuna.trial import FrozenTrial

SPLIT = "validation"
MOST_RIVALS = 10


class HasParams(Protocol):
    """A trial, Optuna's or a report's."""

    @property
    def params(self) -> dict[str, Any]:
        """What was searched."""
        ...


@dataclass(frozen=True)
class Verdict:
    """What is known of a winner once its rivals' predictions have been held against its own.

    Args:
        sentences: the winner and the config as it stood first; then the other trials.
        told_apart: by number of the trials that were compared: whether their difference is more than luck.
    """

    sentences: tuple[str, ...]
    told_apart: Mapping[int, bool] = field(default_factory=dict)

    def __str__(self) -> str:
        return " ".join(self.sentences)


def verdict_of(files: SweepFolder, study: OptunaStudy, default: Mapping[str, Any] | None) -> Verdict | None:
    """Hold a sweep's winner against its config as it stood, and against its best other configurations.

    It is a paired bootstrap over the rows of the validation split, which `finesweep compare` uses too.

    Args:
        files: of the sweep.
        study: its trials.
        default: the config as it stood, as a point; empty when it lay outside the space, None when unknown.

    Returns:
        None where there is no one winner, or no run of finesweep's own.
    """
    complete = ranked_trials(study)
    if not complete or len(study.directions) > 1:
        return None
    winner, *others = configurations(complete)
    objective = trial_result(files.trial(winner[0].number)).get("objective")
    if not objective:
        return None
    untuned = next((one for one in others if agrees(one[0], default)), None)
    rivals = [one for one in others[:MOST_RIVALS] if one is not untuned]
    against = [*([untuned] if untuned else []), *rivals]
    try:
        gaps = differences(
            objective["metric"], _folders(files, winner), [_folders(files, one) for one in against], SPLIT,
            maximizes=objective["direction"] == "maximize",
        )  # fmt: skip
    except DamagedFile as error:
        return Verdict((" ".join(f"The winner can't be held against the others: {error}".split()),))
    pairs = list(zip(against, gaps, strict=True))
    told = {one[0].number: is_told_apart(gap) for one, gap in pairs if gap}
    name = f"Trial {winner[0].number}"
    if agrees(winner[0], default):
        first = "The config as it stood won."
    elif untuned:
        first = _against_default(name, objective["metric"], gaps[0])
    else:
        first = _without_default(name, study.get_trials(deepcopy=False), default)
    return Verdict((first, *_against_others(pairs[bool(untuned) :], len(others), study)), told)


def _folders(files: SweepFolder, trials: Sequence[FrozenTrial]) -> list[RunFolder]:
    return [RunFolder(files.trial(trial.number)) for trial in trials]


def agrees(trial: HasParams, default: Mapping[str, Any] | None) -> bool:
    """Whether a trial is the config as it stood, whatever its seed and fold."""
    wanted = {key: value for key, value in (default or {}).items() if key not in LUCK}
    return bool(default) and wanted.items() <= trial.params.items()


def is_told_apart(gap: Difference) -> bool:
    """Whether a difference is more than luck explains."""
    return gap.verdict != NOT_TOLD


def over_default(name: str, metric: str, gap: Difference, rows: str) -> str:
    """Say how a winner stands to the config as it stood.

    Args:
        name: the winner's.
        metric: that counts.
        gap: of the winner over the config as it stood.
        rows: what it was measured on, in words.
    """
    mean, interval = f"{metric} {gap.mean:+.3f}", f"(95% {gap.low:+.3f} to {gap.high:+.3f}, {rows})"
    if gap.verdict == "better":
        return f"{name}: {mean} over the config as it stood {interval}."
    stands = "is worse than" if is_told_apart(gap) else "is not told apart from"
    return f"{name} {stands} the config as it stood: keep it. The difference is {mean} {interval}."


def _against_default(name: str, metric: str, gap: Difference | None) -> str:
    if gap is None:
        return (
            f"{name} is not compared with the config as it stood: they have no predictions of the same rows."
        )
    return over_default(name, metric, gap, f"{gap.rows:,} {SPLIT} rows")


def _without_default(name: str, trials: Sequence[FrozenTrial], default: Mapping[str, Any] | None) -> str:
    """Say why the winner is not held against the config as it stood."""
    if default is None:
        return f"{name} won; this sweep doesn't say which config it was held against."
    if not default:
        return f"{name} won; the config as it stood lies outside the space, so it was not tried."
    tried = next((trial for trial in trials if agrees(trial, default)), None)
    if tried is None:
        return f"{name} is ahead; the config as it stood has not been tried."
    ends = {"PRUNED": f"was pruned after {len(tried.intermediate_values)} evaluations", "FAIL": "failed"}
    ended = ends.get(tried.state.name, "has not ended")
    return f"{name} is not compared with the config as it stood, which {ended}."


def _against_others(
    pairs: Sequence[tuple[Sequence[FrozenTrial], Difference | None]], num_others: int, study: OptunaStudy
) -> list[str]:
    said = []
    near = [str(one[0].number) for one, gap in pairs if gap and not is_told_apart(gap)]
    if len(near) == MOST_RIVALS:
        said.append(f"Not told apart from any of the next {len(near)}, such as trial {near[0]}.")
    elif near:
        among = f", among the best {MOST_RIVALS}" if num_others > MOST_RIVALS else ""
        said.append(f"Not told apart from trial{'s' * (len(near) > 1)} {', '.join(near)}{among}.")
    pruned = sum(trial.state.name == "PRUNED" for trial in study.get_trials(deepcopy=False))
    if pruned:
        said.append(f"{pruned} pruned trial{'s have' if pruned > 1 else ' has'} no predictions to compare.")
    return said
