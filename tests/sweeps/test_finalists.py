"""Finalists: which configurations have further runs, and who wins by them; on replayed studies."""

import time
from functools import partial

import numpy as np
import optuna
import pytest
from filelock import FileLock
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, IntDistribution

from finesweep.sweeps.counting import num_left, searched
from finesweep.sweeps.display import line_of
from finesweep.sweeps.finalists import finalist_faults, is_over, next_run, num_finalists, sentence
from finesweep.sweeps.holders import Worker
from finesweep.sweeps.outline import FINALIST
from finesweep.sweeps.plan import Plan, Settings
from finesweep.sweeps.results import ranked, repeats_of, seed_of
from finesweep.sweeps.space import Space
from finesweep.sweeps.study import Study
from folders import draws, make_run

RANKS = Space({"peft.r": CategoricalDistribution((2, 4, 8, 16, 32))}, ())
POINTS = [{"peft.r": 8}, {"peft.r": 2}, {"peft.r": 16}, {"peft.r": 4}]


def settings_of(**others):
    given = {"direction": "maximize", "n_trials": 3, "n_jobs": 0, "sampler": {}, "pruner": {}, "finalists": 2}
    return Settings(**{**given, **others})


class Replay:
    """A sweep whose runs are known: which rows each configuration gets right with each seed."""

    def __init__(self, folder, rights, **settings):
        self.rights = rights
        self.plan = Plan(folder, settings_of(**settings), RANKS, OmegaConf.create({"seed": 0}), None, None,
                         default=POINTS[0], points=tuple(POINTS))  # fmt: skip
        sampler, pruner = optuna.samplers.RandomSampler, optuna.pruners.NopPruner()
        storage, lock = optuna.storages.InMemoryStorage(), FileLock(folder / "lock")
        self.study = Study(
            "s", storage, ["maximize"], lambda seed: sampler(seed=seed), pruner, 0, lock, folder
        )

    def step(self):
        """Run the next trial, as a worker does; return whether there was one."""
        plan, worker = self.plan, Worker.here()
        trial = self.study.take(
            worker, plan.space.axes, plan.num_trials, plan.points,
            further=partial(next_run, plan, self.study),
        )  # fmt: skip
        if trial is None:
            return False
        seed = seed_of(self.study.trials()[trial.number]) or 0
        right = self.rights(trial.params["peft.r"], seed)
        if right is None:
            self.study.fail(trial, worker, "diverged")
        else:
            make_run(plan.trial_folder(trial.number), right, seed=seed, split="validation")
            self.study.tell(trial, worker, [float(np.mean(right))])
        return True

    def run(self):
        """Run all there is, and return the trials."""
        while self.step():
            assert len(self.study.trials()) < 30
        return self.study.trials()


def further(trials):
    """Return the finalists' runs, as (trial that they repeat, seed)."""
    return [(t.user_attrs[FINALIST], t.user_attrs["seed"]) for t in trials if FINALIST in t.user_attrs]


def alike(rank, seed):
    """Three configurations: two that luck alone tells apart, of which 8 is the better, and one far behind."""
    shares = {8: 0.82, 2: 0.80, 16: 0.40, 4: 0.81, 32: 0.3}
    lucky = {(2, 0): 0.83}
    return draws(lucky.get((rank, seed), shares[rank]), count=300, seed=7 + seed)


def test_what_luck_may_have_ordered_is_run_again_and_the_best_mean_wins(tmp_path):
    replay = Replay(tmp_path, alike)
    trials = replay.run()
    assert further(trials) == [(1, 1), (0, 1), (1, 2), (0, 2)]
    assert len(searched(trials)) == 3
    assert is_over(replay.plan, replay.study)
    first = max(searched(trials), key=lambda trial: trial.value)
    assert first.params == {"peft.r": 2}  # the luckiest
    assert ranked(replay.study)[0].params == {"peft.r": 8}
    assert {number: str(own)[:15] for number, own in repeats_of(trials).items()}[0] == "mean of 3 seeds"
    assert 2 not in repeats_of(trials)
    assert sentence(replay.plan, trials).startswith(
        "4 further runs of trials 0, 1, which one seed did not tell"
    )
    assert "(finalist: trial 1 with seed 1)" in line_of(trials[3])


def test_a_winner_that_is_told_apart_needs_no_further_runs(tmp_path):
    replay = Replay(tmp_path, lambda rank, seed: draws({8: 0.5, 2: 0.95, 16: 0.3}[rank], seed=rank))
    assert len(replay.run()) == 3
    assert is_over(replay.plan, replay.study)
    assert sentence(replay.plan, replay.study.trials()).startswith("none were needed")


def test_the_config_as_it_stands_is_run_again_though_it_is_not_among_the_best(tmp_path):
    shares = {8: 0.80, 2: 0.82, 16: 0.83}
    replay = Replay(tmp_path, lambda rank, seed: draws(shares[rank], count=200, seed=rank), finalists=1)
    assert sorted({number for number, _ in further(replay.run())}) == [0, 2]


@pytest.mark.parametrize("others", [{"finalists": 0}, {"purpose": "confirm"}, {"timeout": 1}], ids=str)
def test_none_are_run_where_they_are_off_or_the_time_is_over(tmp_path, others):
    replay = Replay(tmp_path, alike, **others)
    replay.plan.files.started.write_text(str(time.time() - 60))
    assert further(replay.run()) == []
    assert is_over(replay.plan, replay.study)


def test_a_run_that_fails_is_not_repeated_and_the_others_go_on(tmp_path):
    replay = Replay(tmp_path, lambda rank, seed: None if (rank, seed) == (2, 1) else alike(rank, seed))
    trials = replay.run()
    assert len(further(trials)) == 4
    assert [trial.state.name for trial in trials].count("FAIL") == 1
    assert is_over(replay.plan, replay.study)


def test_the_sweep_is_not_over_until_they_have_run_and_any_worker_takes_them(tmp_path):
    replay = Replay(tmp_path, alike)
    for _ in range(3):
        replay.step()
    assert num_left(replay.study.trials(), 3) == 0
    assert not is_over(replay.plan, replay.study)
    running = replay.study.take(
        Worker.here(), RANKS.axes, 3, further=partial(next_run, replay.plan, replay.study)
    )
    assert running.user_attrs["seed"] == 1
    replay.study.give_back(running, Worker(running_token(replay.study), "here", 0))
    assert num_left(replay.study.trials(), 3) == 1
    assert len(further(replay.run())) == 4


@pytest.mark.parametrize("others", [{}, {"finalists": 0}], ids=["decided", "off"])
def test_who_asks_when_the_search_has_ended_reads_no_trial_of_the_search_again(tmp_path, monkeypatch, others):
    """Each worker does, under the lock: 64 of them that read 600 trials took longer than the trials."""
    replay = Replay(tmp_path, alike, **others)
    replay.run()
    monkeypatch.setattr(replay.study, "trials", lambda *states: pytest.fail("all trials are read"))
    assert not replay.step()
    assert is_over(replay.plan, replay.study)


def running_token(study):
    return study.trials()[-1].system_attrs["finesweep:lease"]["token"]


def test_a_sweep_that_goes_on_searches_first_and_repeats_no_run(tmp_path):
    replay = Replay(tmp_path, alike)
    before = further(replay.run())
    longer = Replay(tmp_path, alike, n_trials=4)
    longer.study = replay.study
    trials = longer.run()
    assert trials[7].params == {"peft.r": 4} or FINALIST not in trials[7].user_attrs
    assert len(searched(trials)) == 4
    assert further(trials)[:4] == before
    assert len(set(further(trials))) == len(further(trials))


def test_what_can_have_no_finalists_is_refused_by_number_and_passed_over_by_auto(tmp_path):
    seeds = Space({**RANKS.axes, "seed": IntDistribution(0, 2)}, ())
    assert [fault.where for fault in finalist_faults(settings_of(), seeds)] == ["hydra.sweeper.finalists"]
    several = settings_of(direction=["maximize", "minimize"])
    assert "no one winner" in next(finalist_faults(several, RANKS)).rule
    assert [*finalist_faults(settings_of(finalists="auto"), seeds)] == []
    plan = Plan(tmp_path, settings_of(finalists="auto"), seeds, OmegaConf.create({"seed": 0}), None, None)
    assert num_finalists(plan) == 0
    assert num_finalists(Plan(tmp_path, settings_of(finalists="auto"), RANKS, plan.config, None, None)) == 3
