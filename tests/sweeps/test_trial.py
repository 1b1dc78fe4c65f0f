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


PRUNER_KINDS = {
    "halving": optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
    "hyperband": optuna.pruners.HyperbandPruner(min_resource=1, max_resource=4, reduction_factor=2),
    "median": optuna.pruners.MedianPruner(n_startup_trials=0, n_warmup_steps=0),
    "threshold": optuna.pruners.ThresholdPruner(lower=0.9),
}


@pytest.mark.parametrize("kind", PRUNER_KINDS)
def test_a_spared_trial_is_pruned_by_no_pruner_and_others_are_measured_by_it(tmp_path, kind):
    study = optuna.create_study(direction="maximize", pruner=PRUNER_KINDS[kind])
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


def test_the_config_as_it_stands_is_spared_and_no_other_trial(tmp_path):
    settings = Settings("maximize", 30, 1, sampler={}, pruner={"_target_": NO_PRUNER})
    plan = Plan(tmp_path, settings, Space({}, ()), OmegaConf.create(), None, None)
    assert not plan.spares(0)
    points = ({"peft.r": 8}, {"peft.r": 2})
    assert [
        Plan(**{**vars(plan), "default": {"peft.r": rank}, "points": points}).spares(number)
        for rank in (8, 2, 4)
        for number in (0, 1, 2)
    ] == [True, False, False, False, True, False, False, False, False]


def _finish(study, value):
    """Run a trial to its end, whatever the pruner says."""
    trial = study.ask()
    for step in range(1, 9):
        trial.report(value, step)
        trial.should_prune()
    study.tell(trial, value)
