"""A worker: ask the study for a trial, run it, tell; until nothing is left."""

from __future__ import annotations

import gc
import logging
import math
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from hydra.core.singleton import Singleton
from hydra.core.utils import setup_globals
from omegaconf import DictConfig

from finesweep.config.build import register_resolvers
from finesweep.config.trust import strangers
from finesweep.errors import Interrupted
from finesweep.sweeps import execution
from finesweep.sweeps.attributes import REMEMBERED
from finesweep.sweeps.compose import Composer
from finesweep.sweeps.finalists import is_over, may_come, next_run
from finesweep.sweeps.holders import Worker, is_gone_here
from finesweep.sweeps.opening import at_work
from finesweep.sweeps.patience import code_of, fault_of_machine, patiently
from finesweep.sweeps.plan import Plan
from finesweep.sweeps.recall import drops, memory_of
from finesweep.sweeps.stopping import should_stop, too_many_failures
from finesweep.sweeps.storage import quiet_optuna
from finesweep.sweeps.study import Study
from finesweep.sweeps.team import Team
from finesweep.sweeps.winner import evaluate_winner
from finesweep.system.processes import (
    die_with_parent,
    end_quickly,
    end_with,
    process_space,
    restore_environment,
)
from finesweep.system.redaction import redact_tracebacks, redacted_output
from finesweep.system.signals import WARNINGS, hangups, interrupt_once, interruptible
from finesweep.system.terminal import speak_any_locale

if TYPE_CHECKING:
    from optuna.trial import Trial


logger = logging.getLogger(__name__)

SHORTEST_WAIT_S, LONGEST_WAIT_S = 0.05, 1.0
# submitit would make an error of its SIGUSR2, in the midst of a trial, and nothing of SIGTERM.
LAUNCHERS_WARNINGS = tuple({*WARNINGS, getattr(signal, "SIGUSR2", signal.SIGTERM)} - {signal.SIGINT})


@dataclass(frozen=True)
class WorkerTask:
    """A worker as a Hydra job, for launchers that place it on other machines.

    Args:
        plan: the sweep.
        controller: the process that it is made in, and where its number means something.
    """

    plan: Plan
    controller: tuple[str, int] = field(default_factory=lambda: (process_space(), os.getpid()))

    def __call__(self, _config: DictConfig) -> None:
        """Work until nothing is left, or until it is told to end; the launcher's own config is not used.

        A launcher takes for a failure of its job what is in order here: trials were saved and given back.
        """
        space, controller = self.controller
        if space == process_space() and controller != os.getpid():
            end_with(controller)
        with suppress(Interrupted), interruptible(LAUNCHERS_WARNINGS), at_work(self.plan):
            work(self.plan)


@dataclass
class Share:
    """What a worker may take of a sweep.

    Args:
        most: how many trials; None for all that there are.
        told: called with the number of each that has ended.
        taken: how many it has had.
    """

    most: int | None = None
    told: Callable[[int], None] = lambda number: None
    taken: int = 0

    @property
    def is_used_up(self) -> bool:
        """Whether it may take no more."""
        return self.most is not None and self.taken >= self.most


def work(plan: Plan, study: Study | None = None, share: Share | None = None) -> None:
    """Run trials until none waits and none that might come back is running.

    Args:
        plan: the sweep.
        study: its study; opened here when None.
        share: what this worker may take; everything when None.
    """
    register_resolvers()
    with strangers(plan.vouched):
        _work(plan, study, share or Share())


def _work(plan: Plan, study: Study | None, share: Share) -> None:
    quiet_optuna()
    study = study or patiently(plan.open_study, plan.folder)
    gc.freeze()  # what has been imported stays; no search for cycles needs to go through it
    worker, composer = Worker.here(), Composer(plan)
    team = Team(plan) if plan.settings.processes_per_trial > 1 else None
    try:
        if plan.slots > 1:
            _run_packed(plan, composer, study, worker, share)
        else:
            _run_trials(plan, composer, study, worker, share, team)
    finally:
        if team:
            team.close()
    if is_over(plan, study) and not too_many_failures(plan, study.outlines()):
        # The last worker is warm; the controller would have to import torch first.
        evaluate_winner(plan, study)


def _run_trials(
    plan: Plan, composer: Composer, study: Study, worker: Worker, share: Share, team: Team | None
) -> None:
    def run_one() -> bool:
        trial = _take(plan, study, worker, share)
        if trial is not None:
            execution.run_one(plan, composer, study, worker, trial, team)
            share.told(trial.number)
        return trial is not None

    _repeat(run_one, plan, study, share)


def _take(plan: Plan, study: Study, worker: Worker, share: Share) -> Trial | None:
    """Take a trial, if there is one that this worker may have."""
    if share.is_used_up:
        return None
    trial = study.take(
        worker,
        plan.space.axes,
        plan.num_trials,
        plan.points,
        stop=partial(should_stop, plan),
        drops=partial(drops, plan, study),
        further=partial(next_run, plan, study),
    )
    share.taken += trial is not None
    if trial and plan.remembered and (point := memory_of(plan, study.trial(trial.number))):
        trial.set_user_attr(REMEMBERED, str(point))
    return trial


def _run_packed(plan: Plan, composer: Composer, study: Study, worker: Worker, share: Share) -> None:
    """Run as many trials at a time as there are slots; whose turn it is, fibers.py says."""
    from finesweep.sweeps import fibers
    from finesweep.training.packs import Pack

    pack = Pack(plan.slots, fibers.wait, plan.settings.study_seed)
    next_look = -math.inf

    def next_job() -> Callable[[], None] | None:
        """Take a trial; where there was none, ask again after a while: others of the pack go on meanwhile."""
        nonlocal next_look
        if time.monotonic() < next_look:
            return None
        trial = _take(plan, study, worker, share)
        if trial is None:
            next_look = time.monotonic() + LONGEST_WAIT_S
            return None

        def run_it() -> None:
            execution.run_one(plan, composer, study, worker, trial, pack=pack)
            share.told(trial.number)

        return run_it

    def run_several() -> bool:
        nonlocal next_look
        next_look = -math.inf
        return fibers.run_together(next_job, pack) > 0

    _repeat(run_several, plan, study, share)


def _repeat(run_some: Callable[[], bool], plan: Plan, study: Study, share: Share) -> None:
    """Run trials until none waits and none that might come back is running.

    Args:
        run_some: runs what there is, and says whether there was anything.
        plan: the sweep.
        study: its study.
        share: what this worker may take.
    """
    wait = SHORTEST_WAIT_S
    while not share.is_used_up:
        if run_some():
            wait = SHORTEST_WAIT_S
        elif may_come(plan, study):
            time.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT_S)
            study.reclaim(plan.settings.max_retries, is_gone_here)
        else:
            break


def main() -> None:
    """Run as a process of a controller: the plan comes on standard input, and SIGTERM means stop."""
    restore_environment()
    for number in (signal.SIGTERM, *hangups()):
        signal.signal(number, interrupt_once)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the controller's; it tells us
    end_quickly()
    speak_any_locale()
    redact_tracebacks()
    die_with_parent()  # so that the trial is given back
    setup_globals()
    singletons, pickled = pickle.load(sys.stdin.buffer)
    Singleton.set_state(singletons)
    plan = pickle.loads(pickled)
    try:
        with redacted_output():
            work(plan)
    except Interrupted as interruption:
        sys.exit(128 + interruption.signal_number)
    except Exception as error:
        fault = fault_of_machine(error, plan.folder)
        if fault is None:
            raise
        logger.error("%s", fault)
        os._exit(code_of(fault))  # without the last flush of a log that may be on the full disk


if __name__ == "__main__":
    main()
