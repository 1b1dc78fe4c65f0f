"""What a sweep takes over from earlier ones: its portfolio of points, and when that is no longer followed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from finesweep.config.build import build, register_resolvers
from finesweep.config.check import check
from finesweep.config.origin import Origin
from finesweep.errors import FinesweepError
from finesweep.runs.anchoring import anchored
from finesweep.runs.features import Features, features_of
from finesweep.runs.outcome import HALF_WIDTHS
from finesweep.sweeps.attributes import FIXED
from finesweep.sweeps.history import Finished, read_finished, sweeps_in
from finesweep.sweeps.plan import AUTO, CONFIRM, NO_MEMORY, Plan
from finesweep.sweeps.points import tried_anyway, tries_all
from finesweep.sweeps.portfolio import MOST_POINTS, SHARE_OF_BUDGET, choose
from finesweep.sweeps.remembered import Remembered
from finesweep.sweeps.results import LUCK, trial_result
from finesweep.system.console import make_console, quiet_libraries

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from finesweep.sweeps.study import Study

GUARDS = 2  # remembered points that have lost to the config as it stands: the others are not tried


def recall(plan: Plan, base: DictConfig) -> tuple[Remembered, ...]:
    """Choose the points of earlier sweeps that a new one tries early, and say which sweeps can't be read.

    Args:
        plan: the sweep, whose folder has no manifest yet.
        base: what its trials' configs are made of.

    Raises:
        ConfigError: a folder that is named isn't there.
    """
    settings = plan.settings
    is_plain = settings.purpose != CONFIRM and len(settings.directions) == 1 and "objective" in base
    if settings.memory == NO_MEMORY or not is_plain or not _most(plan) or tries_all(plan):
        return ()
    earlier = _earlier(plan)
    if not earlier:
        return ()
    own = _own_features(base)
    if own is None:
        return ()
    chosen = portfolio_of(plan, earlier, own)
    _say(f"{len(chosen)} of the points that did well in {len(earlier)} sweeps over these axes, tried early")
    return chosen


def portfolio_of(plan: Plan, earlier: Sequence[Finished], own: Features) -> tuple[Remembered, ...]:
    """Choose as many points of earlier sweeps as a sweep's budget has room for.

    Args:
        plan: the sweep.
        earlier: what was found before.
        own: features of the sweep's data, model and method.
    """
    return tuple(choose(earlier, own, plan.space, plan.default, tried_anyway(plan), _most(plan)))


def _most(plan: Plan) -> int:
    # Without the config as it stands nothing tells whether a memory misleads: then two points are enough.
    return min(plan.num_trials // SHARE_OF_BUDGET, MOST_POINTS if plan.default else GUARDS)


def _earlier(plan: Plan) -> list[Finished]:
    """Read the sweeps that the settings name; one that can't be read is passed over with a line."""
    wanted = plan.settings.memory
    names = [wanted] if isinstance(wanted, str) else wanted
    folders = (
        [plan.folder.parent] if wanted == AUTO else [Path(name).expanduser().absolute() for name in names]
    )
    keys = [key for key in plan.space.axes if key not in LUCK]
    found = []
    for folder in sweeps_in(folders):
        try:
            found.append(read_finished(folder, keys))
        except FinesweepError as error:
            _say(f"{folder.name} is passed over: {error.faults[0].where}: {error.faults[0].rule}")
    return [one for one in found if one]


def _own_features(base: DictConfig) -> Features | None:
    """Read the data that the trials will have; None, with a line, where they can't be read here."""
    quiet_libraries()
    register_resolvers()
    try:
        plain = check(anchored(base, Path.cwd()), Origin(), online=False)
        return Features(**features_of(build(plain["data"]), plain))
    except FinesweepError as error:
        _say(f"earlier sweeps are left out, since the data can't be read here: {error.faults[0].rule}")
        return None


def memory_of(plan: Plan, trial: FrozenTrial) -> Remembered | None:
    """Return what a trial's point was taken from; None where it wasn't."""
    point = trial.system_attrs.get(FIXED)
    return next((one for one in plan.remembered if one.point == point), None)


def drops(plan: Plan, study: Study, number: int) -> bool:
    """Whether a trial's point is one of an earlier sweep's, and those tried so far have clearly lost."""
    point = plan.points[number]
    return any(one.point == point for one in plan.remembered) and misleads(plan, study.trials())


def misleads(plan: Plan, trials: Sequence[FrozenTrial]) -> bool:
    """Whether the first two remembered points have ended, each clearly behind the config as it stands.

    Clearly is by more than half of the interval of its score over other rows.
    """
    default = next(
        (one for one in trials if plan.default and one.system_attrs.get(FIXED) == plan.default), None
    )
    first = [trial for trial in trials if memory_of(plan, trial)][:GUARDS]
    if default is None or default.state.name != "COMPLETE" or len(first) < GUARDS:
        return False
    noise = _half_width(plan, default)
    sign = 1 if plan.settings.directions[0] == "maximize" else -1
    return all(_is_behind(trial, default, noise, sign) for trial in first)


def _is_behind(trial: FrozenTrial, default: FrozenTrial, noise: float, sign: int) -> bool:
    """Whether a trial has failed, or ended worse than the default was after as many evaluations."""
    if trial.state.name == "FAIL":
        return True
    own, other, curve = trial.value, default.value, trial.intermediate_values
    if trial.state.name == "PRUNED" and curve:
        other = default.intermediate_values.get(max(curve), other)
    if own is None or other is None or not trial.state.is_finished():
        return False
    return sign * (other - own) > noise


def _half_width(plan: Plan, trial: FrozenTrial) -> float:
    result = trial_result(plan.trial_folder(trial.number))
    metric = result.get("objective", {}).get("metric")
    return float(result.get(HALF_WIDTHS, {}).get(f"validation/{metric}") or 0.0)


def _say(text: str) -> None:
    make_console().print(f"memory     {text}", markup=False, soft_wrap=True)
