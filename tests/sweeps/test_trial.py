"""What a trial's monitor tells the study, and what it makes of the answer."""

import optuna
import pytest
from omegaconf import OmegaConf

from finesweep.sweeps.plan import NO_PRUNER, Plan, Settings
from finesweep.sweeps.space import Space
from finesweep.sweeps.trial import CurrentTrial, TrialMonitor
from finesweep.training import Decision


class PruneAlways(optuna.pruners.BasePruner):
    def prune(self, study, trial):
        return True


def test_a_trial_is_pruned_at_any_evaluation_but_its_last(tmp_path):
    study = optuna.create_study(pruner=PruneAlways())
    trial = study.ask()
    monitor = TrialMonitor(CurrentTrial(0, tmp_path, "study", trial))
    monitor.objective = "accuracy"
    monitor.on_begin(num_steps=20)
    assert monitor.on_evaluate(10, {"validation/accuracy": 0.5}) is Decision.PRUNE
    assert monitor.on_evaluate(20, {"validation/accuracy": 0.7}) is Decision.CONTINUE
    assert study.trials[0].intermediate_values == {1: 0.5, 2: 0.7}


AXES = {"rate": optuna.distributions.FloatDistribution(0.0, 1.0)}
BRACKETED = "s"  # hyperband's brackets come of the name
PRUNER_KINDS = {
    "halving": optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
    "hyperband": optuna.pruners.HyperbandPruner(min_resource=1, max_resource=4, reduction_factor=2),
    "median": optuna.pruners.MedianPruner(n_startup_trials=0, n_warmup_steps=0),
    "threshold": optuna.pruners.ThresholdPruner(lower=0.9),
}


@pytest.mark.parametrize("kind", PRUNER_KINDS)
def test_a_spared_trial_is_pruned_by_no_pruner_and_others_are_measured_by_it(tmp_path, kind):
    study = optuna.create_study(study_name=BRACKETED, direction="maximize", pruner=PRUNER_KINDS[kind])
    for _ in range(4):
        _finish(study, 0.95)
    spared = CurrentTrial(4, tmp_path, "study", study.ask(), spared=True)
    assert not any(spared.report(0.5 + step / 100, step) for step in range(1, 9))
    study.tell(4, 0.58)
    worse = CurrentTrial(5, tmp_path, "study", study.ask())
    assert any(worse.report(0.3, step) for step in range(1, 9))
    assert study.trials[4].intermediate_values == {step: 0.5 + step / 100 for step in range(1, 9)}


def test_what_halving_measures_by_is_noted_in_a_spared_trial_too(tmp_path):
    study = optuna.create_study(direction="maximize", pruner=PRUNER_KINDS["halving"])
    spared = CurrentTrial(0, tmp_path, "study", study.ask(), spared=True)
    assert not any(spared.report(0.5, step) for step in range(1, 5))
    study.tell(0, 0.5)
    assert CurrentTrial(1, tmp_path, "study", study.ask()).report(0.4, 1)


def plan_of(folder, n_trials=30, n_startup_trials="auto", **more):
    settings = Settings(
        "maximize", n_trials, 1, {}, {"_target_": NO_PRUNER}, n_startup_trials=n_startup_trials
    )
    return Plan(folder, settings, Space(AXES, ()), OmegaConf.create(), None, None, **more)


@pytest.mark.parametrize(("rank", "spared"), [(8, [0]), (2, [1]), (4, [])])
def test_the_config_as_it_stands_is_spared_and_no_other_trial(tmp_path, rank, spared):
    plan = plan_of(tmp_path, default={"peft.r": rank}, points=({"peft.r": 8}, {"peft.r": 2}))
    assert [number for number in range(30) if plan.spares(number)] == spared
    assert not any(map(plan_of(tmp_path).spares, range(30)))


@pytest.mark.parametrize(
    ("n_trials", "asked", "spared"),
    [
        (1, "auto", 1),
        (4, "auto", 2),
        (12, "auto", 4),
        (19, "auto", 7),
        (20, "auto", 0),
        (12, 0, 0),
        (30, 5, 5),
    ],
)
def test_of_few_trials_the_first_third_runs_to_its_end(tmp_path, n_trials, asked, spared):
    plan = plan_of(tmp_path, n_trials, asked)
    assert [plan.spares(number) for number in range(n_trials)] == [n < spared for n in range(n_trials)]


def _finish(study, value):
    """Run a trial to its end, whatever the pruner says."""
    trial = study.ask()
    for step in range(1, 9):
        trial.report(value, step)
        trial.should_prune()
    study.tell(trial, value)
