"""By what trials are held against each other, and when that is the loss."""

import math

import optuna
import pytest

from finesweep.sweeps.pruning import ByLoss, make_pruner
from finesweep.sweeps.trial import CurrentTrial, TrialMonitor
from finesweep.training import Decision

HALVING = {"_target_": "optuna.pruners.SuccessiveHalvingPruner", "min_resource": 1, "reduction_factor": 2}
MEDIAN = {"_target_": "optuna.pruners.MedianPruner", "n_startup_trials": 1, "n_warmup_steps": 0}
THRESHOLD = {"_target_": "optuna.pruners.ThresholdPruner", "lower": 0.1}


@pytest.fixture
def run(tmp_path):
    """Return what runs a trial of a study, (accuracy, loss) by evaluation: where it is pruned, or 0."""

    def call(study, evaluations):
        trial = study.ask()
        monitor = TrialMonitor(CurrentTrial(trial.number, tmp_path, "study", trial))
        monitor.objective = "accuracy"
        monitor.on_begin(num_steps=len(evaluations))
        for step, (accuracy, loss) in enumerate(evaluations, 1):
            metrics = {"validation/accuracy": accuracy} | ({} if loss is None else {"validation/loss": loss})
            if monitor.on_evaluate(step, metrics) is Decision.PRUNE:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                return step
        study.tell(trial, evaluations[-1][0])
        return 0

    return call


def study_of(node, by="auto", direction="maximize", axes=("peft.r",)):
    return optuna.create_study(direction=direction, pruner=make_pruner(node, by, axes))


SLOW, DEAD = [(0.5, 0.6), (0.5, 0.4), (0.9, 0.2)], [(0.5, 0.7), (0.5, 0.7), (0.5, 0.7)]


@pytest.mark.parametrize("node", [HALVING, MEDIAN])
def test_where_the_metric_says_the_same_of_all_the_loss_tells_who_is_behind(run, node):
    study, by_metric = study_of(node), study_of(node, "objective")
    assert [run(study, one) for one in (SLOW, DEAD)] == [0, 1]
    assert [run(by_metric, one) for one in (SLOW, DEAD)] == [0, 0]


def test_a_study_keeps_the_objective_as_what_was_reported(run):
    study = study_of(HALVING)
    run(study, SLOW)
    assert study.trials[0].intermediate_values == {1: 0.5, 2: 0.5, 3: 0.9}
    assert study.trials[0].user_attrs["losses"] == {"1": 0.6, "2": 0.4, "3": 0.2}


def test_a_trial_whose_loss_grows_falls_behind(run):
    study = study_of(HALVING)
    assert [run(study, one) for one in (SLOW, [(0.5, 0.3), (0.5, 0.9), (0.5, 2.0)])] == [0, 2]


def test_an_objective_that_is_minimised_goes_by_the_same_loss(run):
    study = study_of(HALVING, direction="minimize")
    assert [run(study, one) for one in (SLOW, DEAD)] == [0, 1]


def test_a_loss_that_is_no_number_ends_a_trial(run):
    study = study_of(HALVING)
    assert [run(study, one) for one in (SLOW, [(0.5, math.nan), (0.5, math.nan)])] == [0, 1]


def test_among_trials_without_a_loss_the_objective_counts(run):
    study = study_of(HALVING)
    assert run(study, [(0.5, None), (0.6, None), (0.7, None)]) == 0
    assert run(study, [(0.6, 9.0), (0.7, 9.0), (0.8, 9.0)]) == 0
    assert run(study, [(0.4, 0.1), (0.5, 0.1), (0.6, 0.1)]) == 1


@pytest.mark.parametrize(
    ("node", "by", "axes", "goes_by_loss"),
    [
        (HALVING, "auto", ["peft.r"], True),
        (HALVING, "objective", ["peft.r"], False),
        (HALVING, "auto", ["trainer.loss.gamma"], False),
        (HALVING, "auto", ["trainer.label_smoothing_factor"], False),
        (HALVING, "loss", ["trainer.loss.gamma"], True),
        (THRESHOLD, "auto", ["peft.r"], False),
        (THRESHOLD, "loss", ["peft.r"], True),
    ],
)
def test_auto_is_the_loss_where_trials_are_compared_by_one_loss(node, by, axes, goes_by_loss):
    assert isinstance(make_pruner(node, by, axes), ByLoss) == goes_by_loss
