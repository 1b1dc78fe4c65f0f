"""What is said of a sweep's winner: by predictions whose differences are known."""

import optuna
import pytest
from optuna.trial import create_trial

from finesweep.sweeps.verdict import verdict_of
from finesweep.system.sweep_folder import SweepFolder
from folders import SPACE, draws, make_run, trial

RANKS = {"peft.r": SPACE["peft.r"]}


@pytest.fixture
def judged(tmp_path):
    """Return a function that makes a sweep of trials by which rows they get right, and judges its winner."""

    def judge(*rights, default=0, pruned=()):
        study = optuna.create_study(direction="maximize")
        for number, right in enumerate(rights):
            if number in pruned:
                study.add_trial(trial(number, "PRUNED", (0.5,), RANKS))
                continue
            make_run(tmp_path / "trials" / str(number), right, split="validation")
            study.add_trial(trial(number, values=(float(right.mean()),), space=RANKS))
        point = {} if default is None else {"peft.r": 2 + default}
        return verdict_of(SweepFolder(tmp_path), study, point)

    return judge


def test_a_winner_that_wins_says_by_how_much(judged):
    found = judged(draws(0.7, seed=1), draws(0.9, seed=2), draws(0.9, seed=3))
    assert found.sentences[0].startswith("Trial ")
    assert " over the config as it stood (95% +0." in found.sentences[0]
    assert "400 validation rows" in found.sentences[0]
    assert found.told_apart[0] is True
    assert sorted(found.told_apart.values()) == [False, True]
    assert found.sentences[1].startswith("Not told apart from trial ")


def test_a_winner_by_luck_is_no_reason_to_leave_the_config_as_it_stood(judged):
    right = draws(0.8, seed=1)
    luckier = right.copy()
    luckier[(~right).argmax()] = True
    found = judged(right, luckier)
    assert found.sentences[0].startswith("Trial 1 is not told apart from the config as it stood: keep it.")
    assert "accuracy +0.002 (95% +0.000 to" in found.sentences[0]
    assert found.told_apart == {0: False}


def test_the_config_as_it_stood_may_win(judged):
    found = judged(draws(0.9, seed=1), draws(0.6, seed=2), draws(0.89, seed=3))
    assert found.sentences == ("The config as it stood won.", "Not told apart from trial 2.")
    assert found.told_apart == {1: True, 2: False}


def test_pruned_trials_are_said_to_have_no_predictions(judged):
    right = draws(0.9, seed=1)
    said = judged(right, right, right, pruned=(0, 1)).sentences
    assert "which was pruned after 3 evaluations" in said[0]
    assert said[-1] == "2 pruned trials have no predictions to compare."


@pytest.mark.parametrize(
    ("default", "said"), [(None, "lies outside the space"), (9, "has not been tried")], ids=str
)
def test_a_config_as_it_stood_that_is_not_among_the_trials_is_said_to_be_none(judged, default, said):
    assert said in judged(draws(0.9), default=default).sentences[0]


def test_several_objectives_and_other_jobs_have_no_verdict(tmp_path):
    study = optuna.create_study(directions=["maximize", "minimize"])
    study.add_trial(trial(0, values=(0.5, 2.0)))
    assert verdict_of(SweepFolder(tmp_path), study, {}) is None
    foreign = optuna.create_study()
    foreign.add_trial(create_trial(value=1.0))
    assert verdict_of(SweepFolder(tmp_path), foreign, {}) is None


def test_runs_on_other_rows_are_not_compared(tmp_path):
    study = optuna.create_study(direction="maximize")
    for number, shift in enumerate((0, 1)):
        make_run(tmp_path / "trials" / str(number), draws(0.7 + shift / 10), split="validation", shift=shift)
        study.add_trial(trial(number, values=(0.7 + shift / 10,), space=RANKS))
    found = verdict_of(SweepFolder(tmp_path), study, {"peft.r": 2})
    assert "no predictions of the same rows" in found.sentences[0]
    assert found.told_apart == {}
