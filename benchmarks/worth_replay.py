"""Search rules replayed on a table: the sweeper's own study, sampler, pruner, points and finalists.

A trial takes as long as it has evaluations; workers run side by side, as they do in a sweep.
Nothing is trained.
"""

from __future__ import annotations

import heapq
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf
from worth_memory import as_finished, features, nearest, prior
from worth_rules import EARLIER, HISTORY, PRIOR, RULES, Search
from worth_runs import Runs
from worth_tables import RANK, RATE, Curve, Point, Table

from finesweep.config.build import register_resolvers
from finesweep.config.hydra_session import compose_named, hydra_at
from finesweep.sweeps.finalists import next_run
from finesweep.sweeps.history import Finished
from finesweep.sweeps.holders import Worker
from finesweep.sweeps.launch import FOLDER_KEY, default_point
from finesweep.sweeps.outline import FINALIST
from finesweep.sweeps.plan import SEED, Plan, Settings
from finesweep.sweeps.points import first_points
from finesweep.sweeps.recall import drops, portfolio_of
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
        ranking: the points of its complete trials, best first.
    """

    winner: Point
    named: tuple[tuple[float, Point], ...]
    whole: float
    spent: float
    pruned: int
    ranking: tuple[Point, ...]

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
    reported: Sequence[float]
    done: int = 0


class Rule:
    """A search rule on a table, composed once for all its studies.

    Args:
        table: what is searched: the ranks that it has, and the rates of the method's own space.
        search: the rule.
        others: tables of other data sets, which a memory is made of.
        runs: the table's, where several rules share them.
    """

    def __init__(
        self, table: Table, search: Search, others: Sequence[Table] = (), runs: Runs | None = None
    ) -> None:
        register_resolvers()
        with hydra_at(str(config_folder()), None):
            words = ["objective.direction=maximize", "hydra.sweeper.n_jobs=1", *search.words]
            config = compose_named(PRIMARY, words)
            node: Any = OmegaConf.to_container(config.hydra.sweeper, resolve=True)
            own = {key: value for key, value in node.items() if not key.startswith("_") and key != FOLDER_KEY}
            settings = Settings(**{**own, "storage": IN_MEMORY})
            space = read_space((), {**(settings.params or {}), RANK: table.ranks})
            default = default_point(config, space)
        self._table, self._search, self._runs = table, search, runs or Runs(table)
        self._plan = Plan(Path(), settings, space, config, None, None, default)
        self._prior = prior(others) if search.memory == PRIOR else []
        near = nearest(table, others) if search.memory == HISTORY else []
        self._earlier = [Rule(other, RULES[EARLIER]) for other in near]

    def replay(self, seed: int, workers: int = 1) -> Replayed:
        """Replay a study.

        Args:
            seed: of the study. It chooses which of the table's seeds its trials have; finalists have the
                others.
            workers: that run side by side.
        """
        quiet_optuna()
        settings = self._plan.settings
        sampler = {**settings.sampler, **({SEED: seed} if SEED in settings.sampler else {})}
        with tempfile.TemporaryDirectory() as folder:
            settings = replace(settings, seed=seed, sampler=sampler)
            plan = replace(self._plan, folder=Path(folder), settings=settings)
            if earlier := self._remembered(seed, workers):
                own = features(self._table)
                plan = replace(plan, remembered=portfolio_of(plan, earlier, own))
            return _Replay(self._table, self._search, self._runs, plan, seed, workers).run()

    def _remembered(self, seed: int, workers: int) -> list[Finished]:
        """Return what there is to remember: the prior, or what a user's earlier sweeps would have found."""
        searched = [(rule._table, rule.replay(seed, workers).ranking) for rule in self._earlier]
        return self._prior or [as_finished(table, ranking) for table, ranking in searched]


class _Replay:
    def __init__(self, table: Table, search: Search, runs: Runs, plan: Plan, seed: int, workers: int) -> None:
        self._table, self._search, self._runs = table, search, runs
        own = seed % len(table.seeds)
        self._seeds = table.seeds[own:] + table.seeds[:own]  # the search's first
        self._study: Study = plan.open_study()
        self._points = first_points(plan, self._study)
        self._plan = replace(plan, points=tuple(self._points))
        self._worker = Worker.here()
        self._free, self._spent = workers, 0
        self._noise = runs.half_width(self._seeds[0])
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
        trials, best = self._study.trials(), ranked(self._study)
        return Replayed(
            self._winner(best), tuple(self._named), now / self._evaluations, self._spent / self._evaluations,
            sum(trial.state.name == "PRUNED" for trial in trials),
            tuple(dict.fromkeys(self._point(trial) for trial in best)),
        )  # fmt: skip

    @property
    def _evaluations(self) -> int:
        return max(len(by_seed[self._seeds[0]].metric) for by_seed in self._table.curves.values())

    def _start(self, queue: list[tuple[int, int, _Running]], now: int) -> None:
        """Let each free worker take a trial, as worker.py does."""
        plan = self._plan
        while self._free:
            trial = self._study.take(
                self._worker, plan.space.axes, plan.num_trials, self._points,
                stop=partial(should_stop, plan), drops=partial(drops, plan, self._study),
                further=partial(next_run, plan, self._study),
            )  # fmt: skip
            if trial is None:
                return
            place = trial.user_attrs.get(SEED, 0)  # a finalist's; the config's own is 0
            if place >= len(self._seeds):
                self._study.fail(trial, self._worker, "the table has no further seed")
                continue
            self._free -= 1
            heapq.heappush(queue, (now + 1, trial.number, self._begin(trial, self._seeds[place])))

    def _begin(self, trial: Trial, seed: int) -> _Running:
        plan, search = self._plan, self._search
        folder, point = plan.trial_folder(trial.number), self._point(trial)
        self._runs.put(folder, point, seed)
        current = CurrentTrial(
            number=trial.number, folder=folder, study_name=self._study.name,
            optuna_trial=self._study.handle(trial.number), prunes=FINALIST not in trial.user_attrs,
            spared=search.spares and plan.spares(trial.number),
        )  # fmt: skip
        monitor = TrialMonitor(current)
        monitor.objective = "metric"
        curve = self._table.curves[point][seed]
        monitor.on_begin(len(curve.metric))
        return _Running(trial, monitor, point, curve, search.reports(curve))

    def _evaluate(self, running: _Running, now: int) -> bool:
        """Make a trial's next evaluation, and return whether it goes on."""
        running.done += 1
        self._spent += 1
        value, loss = (of[running.done - 1] for of in (running.reported, running.curve.loss))
        decision = running.monitor.on_evaluate(
            running.done, {"validation/metric": value, "validation/loss": loss}
        )
        if decision is Decision.PRUNE and not self._is_within_noise(running.done, value):
            self._study.prune(running.trial, self._worker)
        elif running.done == len(running.curve.metric):
            self._study.tell(running.trial, self._worker, [max(running.curve.metric)])
            self._name(now)
        else:
            return True
        return False

    def _is_within_noise(self, evaluation: int, value: float) -> bool:
        """Whether a trial has grace: it is behind the best one by no more than a share of the half-width."""
        if not self._search.grace:
            return False
        others = [trial.intermediate_values.get(evaluation, -math.inf) for trial in self._study.trials()]
        return max(others) - value <= self._search.grace * self._noise

    def _name(self, now: int) -> None:
        """Note which point the search would name, if that has changed."""
        point = self._winner(ranked(self._study))
        if not self._named or self._named[-1][1] != point:
            self._named.append((now / self._evaluations, point))

    def _winner(self, best: Sequence[FrozenTrial]) -> Point:
        """Return the point that is named; in doubt the config as it stands, where that is the rule."""
        default = next((one for one in best if self._point(one) == self._table.default), None)
        if self._search.keeps and default:
            folders = [self._plan.trial_folder(one.number) for one in (best[0], default)]
            if not self._runs.beats(*folders):
                return self._table.default
        return self._point(best[0])

    def _point(self, trial: Trial | FrozenTrial) -> Point:
        return self._table.nearest(trial.params[RANK], trial.params[RATE])
