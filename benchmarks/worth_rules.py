"""Search rules replayed on a table: the sweeper's own study, sampler, pruner and points, but no training.

A trial takes as long as it has evaluations; workers run side by side, as they do in a sweep.
"""

from __future__ import annotations

import heapq
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf
from worth_tables import RANK, RATE, Curve, Point, Table

from finesweep.config.build import register_resolvers
from finesweep.config.hydra_session import compose_named, hydra_at
from finesweep.sweeps.holders import Worker
from finesweep.sweeps.launch import FOLDER_KEY, default_point
from finesweep.sweeps.plan import SEED, Plan, Settings
from finesweep.sweeps.points import first_points
from finesweep.sweeps.results import ranked
from finesweep.sweeps.space import read_space
from finesweep.sweeps.stopping import should_stop
from finesweep.sweeps.storage import quiet_optuna
from finesweep.sweeps.study import Study
from finesweep.sweeps.trial import CurrentTrial, TrialMonitor
from finesweep.system.places import PRIMARY, config_folder
from finesweep.training.base import Decision

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial, Trial

# A rule is what is typed beside `python train.py -m`.
RULES = {
    "today's default": [],
    "no pruning": ["hydra/sweeper/pruner=none"],
    "random, no pruning": ["hydra/sweeper/sampler=random", "hydra/sweeper/pruner=none"],
    "random, ASHA": ["hydra/sweeper/sampler=random"],
    "QMC, no pruning": ["hydra/sweeper/sampler=qmc", "hydra/sweeper/pruner=none"],
    "GP, no pruning": ["hydra/sweeper/sampler=gp", "hydra/sweeper/pruner=none"],
    "TPE, median": ["hydra/sweeper/pruner=median"],
    "ASHA, no startup trials": ["hydra.sweeper.n_startup_trials=0"],
}
IN_MEMORY = {"_target_": "optuna.storages.InMemoryStorage"}


@dataclass(frozen=True)
class Replayed:
    """How a search went.

    Args:
        winner: what it would name at its end, as a point of the grid.
        named: each time at which the point that it would name changed, and that point.
        whole: when its last trial ended; times are in trainings of full length.
        spent: evaluations of all trials, in trainings of full length.
        pruned: how many trials were.
    """

    winner: Point
    named: tuple[tuple[float, Point], ...]
    whole: float
    spent: float
    pruned: int

    def time_to(self, goal: float, table: Table) -> float:
        """Return from when on what it would name is worth at least `goal`, to its end; infinity for never."""
        since = math.inf
        for when, point in self.named:
            reached = table.truth(point) >= goal
            since = min(since, when) if reached else math.inf
        return since


@dataclass
class _Running:
    trial: Trial
    monitor: TrialMonitor
    point: Point
    curve: Curve
    done: int = 0


class Rule:
    """A search rule, composed once for all its studies.

    Args:
        table: what is searched: the ranks that it has, and the rates of the method's own space.
        words: what is typed beside `python train.py -m`.
    """

    def __init__(self, table: Table, words: Sequence[str]) -> None:
        register_resolvers()
        with hydra_at(str(config_folder()), None):
            config = compose_named(
                PRIMARY, ["objective.direction=maximize", "hydra.sweeper.n_jobs=1", *words]
            )
            node: Any = OmegaConf.to_container(config.hydra.sweeper, resolve=True)
            own = {key: value for key, value in node.items() if not key.startswith("_") and key != FOLDER_KEY}
            settings = Settings(**{**own, "storage": IN_MEMORY})
            space = read_space((), {**(settings.params or {}), RANK: table.ranks})
            default = default_point(config, space)
        self._table = table
        self._plan = Plan(Path(), settings, space, config, None, None, default)

    def replay(self, seed: int, workers: int = 1) -> Replayed:
        """Replay a study.

        Args:
            seed: of the study. It chooses among the table's seeds the one that all its trials have.
            workers: that run side by side.
        """
        quiet_optuna()
        settings = self._plan.settings
        sampler = {**settings.sampler, **({SEED: seed} if SEED in settings.sampler else {})}
        with tempfile.TemporaryDirectory() as folder:  # for the lock that a trial is taken under
            settings = replace(settings, seed=seed, sampler=sampler)
            plan = replace(self._plan, folder=Path(folder), settings=settings)
            seeds = self._table.seeds
            return _Replay(self._table, plan, seeds[seed % len(seeds)], workers).run()


class _Replay:
    def __init__(self, table: Table, plan: Plan, seed: int, workers: int) -> None:
        self._table, self._seed = table, seed
        self._study: Study = plan.open_study()
        self._points = first_points(plan, self._study)
        self._plan = replace(plan, points=tuple(self._points))
        self._worker = Worker.here()
        self._free, self._spent = workers, 0
        self._named: list[tuple[float, Point]] = []

    def run(self) -> Replayed:
        queue: list[tuple[int, int, _Running]] = []  # by the time of the next evaluation, then by number
        now = 0
        self._start(queue, now)
        while queue:
            now, number, running = heapq.heappop(queue)
            if self._evaluate(running, now):
                heapq.heappush(queue, (now + 1, number, running))
            else:
                self._free += 1
                self._start(queue, now)
        trials = self._study.trials()
        return Replayed(
            self._named[-1][1], tuple(self._named), now / self._evaluations, self._spent / self._evaluations,
            sum(trial.state.name == "PRUNED" for trial in trials),
        )  # fmt: skip

    @property
    def _evaluations(self) -> int:
        return max(len(by_seed[self._seed].metric) for by_seed in self._table.curves.values())

    def _start(self, queue: list[tuple[int, int, _Running]], now: int) -> None:
        """Let each free worker take a trial, as worker.py does."""
        plan = self._plan
        while self._free:
            stop = lambda trials: should_stop(plan, trials)  # noqa: E731
            trial = self._study.take(self._worker, plan.space.axes, plan.num_trials, self._points, stop)
            if trial is None:
                return
            self._free -= 1
            heapq.heappush(queue, (now + 1, trial.number, self._begin(trial)))

    def _begin(self, trial: Trial) -> _Running:
        current = CurrentTrial(
            number=trial.number, folder=self._plan.trial_folder(trial.number), study_name=self._study.name,
            optuna_trial=self._study.handle(trial.number), spared=self._plan.spares(trial.number),
        )  # fmt: skip
        monitor = TrialMonitor(current)
        monitor.objective = "metric"
        point = self._point(trial)
        curve = self._table.curves[point][self._seed]
        monitor.on_begin(len(curve.metric))
        return _Running(trial, monitor, point, curve)

    def _evaluate(self, running: _Running, now: int) -> bool:
        """Make a trial's next evaluation, and return whether it goes on."""
        running.done += 1
        self._spent += 1
        value = running.curve.metric[running.done - 1]
        decision = running.monitor.on_evaluate(running.done, {"validation/metric": value})
        if decision is Decision.PRUNE:
            self._study.prune(running.trial, self._worker)
        elif running.done == len(running.curve.metric):
            self._study.tell(running.trial, self._worker, [max(running.curve.metric)])
            self._name(now)
        else:
            return True
        return False

    def _name(self, now: int) -> None:
        """Note which point the search would name, if that has changed."""
        point = self._point(ranked(self._study)[0])
        if not self._named or self._named[-1][1] != point:
            self._named.append((now / self._evaluations, point))

    def _point(self, trial: Trial | FrozenTrial) -> Point:
        return self._table.nearest(trial.params[RANK], trial.params[RATE])
