"""What a sweep is to do: everything a worker needs, small enough to be sent to another machine."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from omegaconf import DictConfig

from finesweep.config.build import instantiate
from finesweep.config.trust import vouched
from finesweep.sweeps.pickles import guard_samplers
from finesweep.sweeps.pruning import make_pruner
from finesweep.sweeps.remembered import Remembered
from finesweep.sweeps.space import Space
from finesweep.sweeps.storage import open_storage
from finesweep.sweeps.study import Study
from finesweep.system.locks import BackoffLock
from finesweep.system.machine import visible_gpus
from finesweep.system.signatures import locate, signature_of
from finesweep.system.sweep_folder import SweepFolder

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

GRID_SAMPLER = "optuna.samplers.GridSampler"
NO_PRUNER = "optuna.pruners.NopPruner"
BASIC_LAUNCHER = "BasicLauncher"
AUTO = "auto"
NO_MEMORY = "none"
SLOTS_ON_A_GPU = 16
FEW_TRIALS = 20  # of fewer a third is enough to say something, and less isn't
# What a sweep is for: its trials are rivals for one test, or each is tested.
SEARCH, CONFIRM = PURPOSES = ("search", "confirm")
# Settings of one call, which a sweep's manifest doesn't hold.
OF_THIS_CALL = ("join", "detach", "worker_trials", "worker_timeout")
# Samplers whose answers depend on a seed take it under this name.
SEED = "seed"


@dataclass(frozen=True)
class Settings:
    """`hydra.sweeper` as plain values; the names are those of the official Optuna sweeper where it has them.

    Args:
        study_name: the study's name in the storage; the sweep folder's name when None.
        storage: a URL, `journal`, a node with `_target_`, or None for SQLite in the sweep folder.
            Interpolations are kept, so that a password stays in the environment.
        direction: one direction, or one for each objective.
        objectives: names of final metrics, when there are several objectives.
        n_trials: the total, over all calls of the same sweep.
        n_jobs: workers; 0 runs the trials in this process.
        processes_per_trial: more than one runs each trial under `accelerate launch`.
        trials_per_worker: that train together on one backbone; `auto` is 1 without a GPU.
        timeout: seconds after which no new trial starts.
        target: objective value at which no new trial starts.
        n_startup_trials: so many of the first are never pruned; `auto`: a third of fewer than 20, else none.
        max_failure_rate: share of failed trials at which the sweep ends, after at least 4 trials.
        max_retries: how often a trial whose worker died is queued again.
        seed: of the study, unless the sampler has one.
        sampler: node with `_target_`.
        pruner: node with `_target_`.
        params: the search space.
        enqueue: points to try first, as mappings of axis to value.
        prune_by: what trials are held against each other by: `loss`, that of validation; `objective`;
            `auto`, the loss where the pruner compares trials, and no axis changes what a loss is.
        memory: whose points are tried early: `none`; `auto`, those of the sweeps beside this one; folders.
        finalists: how many of the best configurations, and the config as it stands, run with further seeds
            where one seed doesn't tell them apart; `auto`: 3.
        custom_search_space: dotted path of a function (config, trial) that suggests more parameters.
        purpose: `search`; or `confirm`, where every trial reads the test split too.
        join: be one worker among others, which may come and go on any host; there need be no controller.
        detach: only open the sweep, for workers that join it.
        worker_trials: after how many trials a worker that has joined ends.
        worker_timeout: after how many seconds it saves its trials, gives them back and ends.
    """

    direction: str | list[str]
    n_trials: int
    n_jobs: int
    sampler: dict[str, Any]
    pruner: dict[str, Any]
    study_name: str | None = None
    storage: Any = None
    objectives: list[str] | None = None
    processes_per_trial: int = 1
    trials_per_worker: int | Literal["auto"] = 1
    timeout: float | None = None
    target: float | None = None
    n_startup_trials: int | Literal["auto"] = AUTO
    max_failure_rate: float = 0.5
    max_retries: int = 2
    seed: int = 0
    params: dict[str, Any] | None = None
    enqueue: list[dict[str, Any]] = field(default_factory=list)
    prune_by: Literal["auto", "loss", "objective"] = AUTO
    memory: str | list[str] = NO_MEMORY
    finalists: int | Literal["auto"] = 0
    custom_search_space: str | None = None
    purpose: str = SEARCH
    join: bool = False
    detach: bool = False
    worker_trials: int | None = None
    worker_timeout: float | None = None

    @property
    def directions(self) -> list[str]:
        """One direction for each objective."""
        return [self.direction] if isinstance(self.direction, str) else list(self.direction)

    @property
    def study_seed(self) -> int:
        """What the trials' seeds come from: `sampler.seed`, as the official sweeper has it, or `seed`."""
        own = self.sampler.get(SEED)
        return self.seed if own is None else own


@dataclass(frozen=True)
class Plan:
    """A sweep, ready to run.

    Args:
        folder: the sweep folder.
        settings: how to search.
        space: what to search.
        config: Hydra's sweep config.
        hydra_context: composes the trials' configs.
        task_function: the job.
        default: the config as it stands, as a point of the space; empty when it lies outside.
        points: parameters of the first trials, by number.
        remembered: those among them that did well in earlier sweeps.
        sweep_id: drawn once for each sweep, and kept in its manifest and its study.
        began_as: the study's name in the manifest; the folder may have another name by now.
        is_old: whether that call was before sweeps had ids.
        vouched: what the user vouches for in what may be a stranger's (see trust.py).
    """

    folder: Path
    settings: Settings
    space: Space
    config: DictConfig
    hydra_context: Any
    task_function: Any
    default: dict[str, Any] = field(default_factory=dict)
    points: tuple[dict[str, Any], ...] = ()
    remembered: tuple[Remembered, ...] = ()
    sweep_id: str = ""
    began_as: str = ""
    is_old: bool = False
    vouched: frozenset[str] | None = field(default_factory=vouched)

    @property
    def files(self) -> SweepFolder:
        """What lies where in the sweep folder."""
        return SweepFolder(self.folder)

    @property
    def study_name(self) -> str:
        """The study's name in the storage."""
        return self.settings.study_name or self.began_as or self.folder.name

    @property
    def num_trials(self) -> int:
        """The total, no more than the space has points: a repeated point gives a repeated result."""
        size = self.space.size() if not self.settings.custom_search_space else None
        return self.settings.n_trials if size is None else min(self.settings.n_trials, size)

    def spares(self, number: int) -> bool:
        """Whether a trial runs to its end, whatever the pruner says.

        The config as it stands does, which the winner is held against, and so do the startup trials.
        """
        is_default = bool(self.default) and self.default in self.points[number : number + 1]
        return is_default or number < self.num_startup_trials

    @property
    def num_startup_trials(self) -> int:
        """How many trials are never pruned, the first ones."""
        if self.settings.n_startup_trials != AUTO:
            return int(self.settings.n_startup_trials)
        return math.ceil(self.num_trials / 3) if self.num_trials < FEW_TRIALS else 0

    @property
    def slots(self) -> int:
        """How many trials a worker has at a time."""
        settings, wanted = self.settings, self.settings.trials_per_worker
        if wanted == AUTO:
            wanted = SLOTS_ON_A_GPU if visible_gpus() else 1
        # A process has one working folder.
        if wanted == 1 or settings.processes_per_trial > 1 or self.config.hydra.job.chdir:
            return 1
        return min(wanted, math.ceil(self.num_trials / max(settings.n_jobs, 1)))

    def open_study(self) -> Study:
        """Open the study, or create it."""
        guard_samplers()
        settings = self.settings
        sampler = sampler_node(settings.sampler, settings.study_seed)
        in_turn = _is_sequence(sampler)
        return Study(
            self.study_name,
            open_storage(settings.storage, self.folder),
            settings.directions,
            _sampler_maker(sampler, in_turn),
            make_pruner(settings.pruner, settings.prune_by, self.space.axes),
            settings.study_seed,
            BackoffLock(self.files.trials_lock),
            self.folder,
            in_turn=in_turn,
        )

    def trial_folder(self, number: int) -> Path:
        """Name a trial's run folder."""
        return self.files.trial(number)


def sampler_node(node: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the node of the sampler that is used for one that was chosen, with a seed if it takes one.

    Raises:
        TargetError: there is no such sampler.
    """
    if node["_target_"] == GRID_SAMPLER:  # its points are queued one by one; nothing is left to sample
        node = {"_target_": "optuna.samplers.RandomSampler"}
    takes_seed = SEED in signature_of(node["_target_"]).parameters
    return {**node, SEED: seed} if takes_seed and node.get(SEED) is None else node


def _is_sequence(sampler: dict[str, Any]) -> bool:
    import optuna

    kind = locate(sampler["_target_"])
    return isinstance(kind, type) and issubclass(kind, optuna.samplers.QMCSampler)


def _sampler_maker(node: dict[str, Any], in_turn: bool) -> Callable[[int], BaseSampler]:
    """Return what makes a trial's sampler from the trial's seed: a copy of one that is ready but for that.

    A sequence's place is kept in the study; with a seed for each trial its points would be random ones. So
    only the sampler that chooses before it gets the trial's.
    """
    from optuna.samplers import RandomSampler

    fixed = {key: value for key, value in node.items() if key != SEED or in_turn}
    ready = instantiate({**fixed, "_partial_": True})

    def make(seed: int) -> BaseSampler:
        sampler = copy.deepcopy(ready)
        if in_turn:
            first = {"independent_sampler": RandomSampler(seed=seed), "warn_independent_sampling": False}
            return sampler(**{**first, **sampler.keywords})
        return sampler(**({SEED: seed} if SEED in node else {}))

    return make


def space_hash(space: Space, custom: str | None) -> str:
    """Hash a search space, for the manifest."""
    content = json.dumps([space.describe(), custom], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]
