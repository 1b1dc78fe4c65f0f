"""A report's figures look at all trials on one budget: studies whose truth is known, without training."""

import math
from dataclasses import replace

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from finesweep.commands.report.figures import best_so_far, figures, slices
from finesweep.commands.report.record import read_sweep
from finesweep.commands.report.surface import MOST_CELLS
from folders import make_sweep, trial

EVALUATIONS = 8
TRUTH = {
    "trainer.learning_rate": FloatDistribution(1e-5, 1e-2, log=True),
    "peft.r": IntDistribution(1, 64),
    "peft.lora_dropout": FloatDistribution(0.0, 0.5),
}


def value_of(params, evaluation):
    """Return what depends on rate and rank alone, and grows with each evaluation."""
    rate = 1 - (math.log10(params["trainer.learning_rate"]) + 3) ** 2 / 4
    return 0.5 + 0.3 * rate + 0.15 * params["peft.r"] / 64 + 0.01 * evaluation


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """Return a sweep of 200 trials whose value is `value_of`, of which the usual pruner ended most."""
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0), pruner=pruner
    )
    for _ in range(200):
        one = study.ask(TRUTH)
        for evaluation in range(1, EVALUATIONS + 1):
            one.report(value_of(one.params, evaluation), evaluation)
            if evaluation < EVALUATIONS and one.should_prune():
                study.tell(one, state=TrialState.PRUNED)
                break
        else:
            study.tell(one, value_of(one.params, EVALUATIONS))
    folder = make_sweep(tmp_path_factory.mktemp("known") / "sweep", study.trials)
    sweep = read_sweep(folder)
    return replace(sweep, space={name: str(axis) for name, axis in TRUTH.items()})


def test_what_decides_nothing_is_least_important_though_most_trials_were_pruned(known):
    assert known.counts["pruned"] > 140
    assert known.budget.evaluation == 1
    assert len(known.budget.trials) == 200
    assert list(known.importances) == ["trainer.learning_rate", "peft.r", "peft.lora_dropout"]
    # Their shares of the variance, as the formula has them.
    assert list(known.importances.values()) == pytest.approx([0.78, 0.22, 0.0], abs=0.05)


def test_every_figure_shows_all_trials_at_the_evaluation_that_all_reached(known):
    drawn = {figure.id: figure for figure in figures(known)[0]}
    at_first = {one.number: value_of(one.params, 1) for one in known.trials}
    for figure in (drawn["history"], *slices(known)):
        dots = [trace for trace in figure.data if trace["mode"] == "markers"]
        assert sum(len(trace["y"]) for trace in dots) == 200
        shown = sorted(value for trace in dots for value in trace["y"])
        assert np.allclose(shown, sorted(at_first.values()), atol=1e-4)
        pruned = next(trace for trace in dots if trace["name"] == "pruned")
        assert pruned["marker"]["symbol"] == "circle-open"
        assert "pruned at evaluation" in pruned["text"][0]
    assert "at evaluation 1, the last that all 200 reached" in drawn["history"].note
    assert best_so_far(known)[-1][1] == pytest.approx(max(at_first.values()))
    assert drawn["parallel"].data[0]["dimensions"][-1]["values"] == pytest.approx(
        list(at_first.values()), abs=1e-4
    )


def test_a_contour_of_many_trials_has_few_cells(known):
    surface = next(figure for figure in figures(known)[0] if figure.id == "contour").data[0]
    assert (len(surface["z"]), len(surface["z"][0])) == (MOST_CELLS, MOST_CELLS)
    assert len(surface["x"]) == len(surface["y"]) == MOST_CELLS
    filled = [value for row in surface["z"] for value in row if value is not None]
    assert 100 < len(filled) <= 200


def test_an_axis_has_the_scale_that_was_searched(known):
    kinds = {figure.title: figure.layout["xaxis"].get("type") for figure in slices(known)}
    assert kinds == {"trainer.learning_rate": "log", "peft.r": None, "peft.lora_dropout": None}


def test_trials_that_all_ran_to_their_end_are_shown_by_their_best_evaluation(tmp_path):
    sweep = read_sweep(make_sweep(tmp_path / "few", [trial(n, values=(0.5 + n / 10,)) for n in range(4)]))
    assert sweep.budget.evaluation is None
    assert [sweep.budget.value(one) for one in sweep.budget.trials] == pytest.approx([0.5, 0.6, 0.7, 0.8])


def test_a_value_that_is_not_finite_at_the_common_evaluation_is_left_out(tmp_path):
    trials = [trial(n, values=(0.5 + n / 10,)) for n in range(3)]
    trials.append(
        create_trial(
            state=TrialState.PRUNED, intermediate_values={1: float("nan")}, params={}, distributions={}
        )
    )
    sweep = read_sweep(make_sweep(tmp_path / "few", trials))
    assert (sweep.budget.evaluation, len(sweep.budget.trials)) == (1, 3)
