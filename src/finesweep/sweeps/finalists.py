"""The best configurations once more, with other seeds, where luck alone may have put one first."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finesweep.errors import Fault
from finesweep.runs.difference import differences
from finesweep.runs.layout import RunFolder
from finesweep.sweeps.counting import num_left, searched, states_of
from finesweep.sweeps.outline import Outline
from finesweep.sweeps.plan import AUTO, CONFIRM, Plan, Settings
from finesweep.sweeps.results import FINALIST, LUCK, SEED, configurations, trial_result
from finesweep.sweeps.space import Space
from finesweep.sweeps.stopping import should_stop, time_is_over
from finesweep.sweeps.study import Study
from finesweep.sweeps.verdict import SPLIT, agrees, is_told_apart

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

DECIDED = (
    "finesweep:finalists"  # the study's attribute: among how many, how many were asked for, and which runs
)
FEW = 3  # configurations, where the number is left to us
FURTHER_SEEDS = 2  # for each


@dataclass(frozen=True)
class FinalistRun:
    """A finalist's run: a trial's configuration with another seed.

    Args:
        of: the trial's number.
        params: what it was made of.
        seed: the other one.
    """

    of: int
    params: Mapping[str, Any]
    seed: int

    @property
    def attributes(self) -> dict[str, Any]:
        """What the run's own trial says of it."""
        return {FINALIST: self.of, SEED: self.seed}


def num_finalists(plan: Plan) -> int:
    """Return how many of a sweep's configurations may have further runs; 0 where there is no one winner."""
    wanted, settings = plan.settings.finalists, plan.settings
    is_plain = settings.purpose != CONFIRM and len(settings.directions) == 1
    has_seed = SEED in plan.config and not set(LUCK) & set(plan.space.axes)
    return (FEW if wanted == AUTO else int(wanted)) if is_plain and has_seed else 0


def finalist_faults(settings: Settings, space: Space) -> Iterator[Fault]:
    """Refuse finalists where there is none to be found, or where each trial is one already."""
    if settings.finalists in (0, AUTO):
        return
    if len(settings.directions) > 1:
        rule = "With several objectives there is no one winner that luck might have chosen."
        yield Fault("hydra.sweeper.finalists", rule, settings.finalists, fix="hydra.sweeper.finalists=0")
    elif varied := [key for key in LUCK if key in space.axes]:
        rule = f"The sweep varies {varied[0]} itself: its winner is the best mean over it already."
        yield Fault("hydra.sweeper.finalists", rule, settings.finalists, fix="hydra.sweeper.finalists=0")


def next_run(plan: Plan, study: Study, known: Sequence[Outline]) -> FinalistRun | None:
    """Return the next finalist's run that is due; None while the search goes on, and where all were made."""
    due = runs_due(plan, study, known)
    return due[0] if due else None


def is_over(plan: Plan, study: Study, known: Sequence[Outline] | None = None) -> bool:
    """Say whether a sweep's trials have all ended, finalists' too; not those it stops short of.

    Args:
        plan: the sweep.
        study: its study.
        known: the study's trials, where they have just been read.
    """
    trials = study.outlines() if known is None else known
    if states_of(trials)["RUNNING"]:
        return False
    if should_stop(plan, trials):
        return True
    if num_left(trials, plan.num_trials):
        return False
    return not runs_due(plan, study, trials)


def may_come(plan: Plan, study: Study) -> bool:
    """Say whether there may be a trial to take yet: one that is due, or that runs and may come back."""
    trials = study.outlines()
    return not should_stop(plan, trials) and not is_over(plan, study, trials)


def runs_due(plan: Plan, study: Study, known: Sequence[Outline]) -> list[FinalistRun]:
    """Return the finalists' runs that nobody has begun; who they are is decided once the search has ended.

    Each worker asks at the end, under the lock, so only whoever decides reads all of the trials.
    """
    if not num_finalists(plan):
        return []
    search = searched(known)
    is_searching = num_left(search, plan.num_trials) or not all(one.state.is_finished() for one in search)
    if is_searching or time_is_over(plan):
        return []
    decided, asked = study.optuna.user_attrs.get(DECIDED), [len(search), num_finalists(plan)]
    if decided is None or decided["asked"] != asked:
        decided = {"asked": asked, "runs": _decide(plan, study.trials())}
        study.optuna.set_user_attr(DECIDED, decided)
    runs = [study.trial(one.number).user_attrs for one in known if FINALIST in one.user_attrs]
    made = {(about[FINALIST], about[SEED]) for about in runs}
    return [
        FinalistRun(number, study.trial(number).params, seed)
        for number, seed in decided["runs"]
        if (number, seed) not in made
    ]


def _decide(plan: Plan, trials: Sequence[FrozenTrial]) -> list[list[int]]:
    """Return the runs that are wanted, as (number of the trial, seed); the leader's first for each seed."""
    base = int(plan.config[SEED])
    groups = contenders(plan, trials)
    used = [{base, *(trial.user_attrs.get(SEED, base) for trial in group)} for group in groups]
    seeds = [base + place for place in range(1, FURTHER_SEEDS + 1)]
    return [
        [min(trial.number for trial in group), seed]
        for seed in seeds
        for group, known in zip(groups, used, strict=True)
        if seed not in known
    ]


def contenders(plan: Plan, trials: Sequence[FrozenTrial]) -> list[list[FrozenTrial]]:
    """Return the best configurations that the rows of the validation split don't tell apart, best first.

    The config as it stands is looked at too. Where all are told apart from the best, there are none.
    """
    sign = 1 if plan.settings.directions[0] == "maximize" else -1
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    groups = sorted(configurations(complete), key=lambda group: -sign * _mean(group))
    rivals = groups[1 : num_finalists(plan)]
    rivals += [one for one in groups[1:] if agrees(one[0], plan.default) and one not in rivals]
    objective = trial_result(plan.trial_folder(groups[0][0].number)).get("objective") if groups else None
    if not rivals or not objective:
        return []
    first, *others = [
        [RunFolder(plan.trial_folder(one.number)) for one in group] for group in (groups[0], *rivals)
    ]
    gaps = differences(objective["metric"], first, others, SPLIT, maximizes=sign > 0)
    near = [group for group, gap in zip(rivals, gaps, strict=True) if gap and not is_told_apart(gap)]
    return [groups[0], *near] if near else []


def _mean(group: Sequence[FrozenTrial]) -> float:
    return statistics.fmean(trial.values[0] for trial in group)


def sentence(plan: Plan, trials: Sequence[FrozenTrial]) -> str:
    """Say which configurations had further runs and why, or why none had; nothing where none may."""
    if not num_finalists(plan):
        return ""
    runs = [trial for trial in trials if FINALIST in trial.user_attrs]
    if not runs:
        return "none were needed: no other is near enough to the best for luck to have chosen between them"
    names = ", ".join(map(str, sorted({trial.user_attrs[FINALIST] for trial in runs})))
    return (
        f"{len(runs)} further runs of trials {names}, which one seed did not tell apart; the best mean wins"
    )
