"""Splits by group, by time, in folds; limits; and what the leaderboard makes of folds."""

from datetime import date, timedelta

import optuna
import pytest
from datasets import Dataset, DatasetDict
from optuna.distributions import IntDistribution

from finesweep.data import load_text_data
from finesweep.errors import DataError
from finesweep.sweeps.results import FOLD, Repeats, configurations, ranked_trials, repeats_of


def rows(n: int = 100, **columns) -> Dataset:
    return Dataset.from_dict(
        {"text": [f"text {i}" for i in range(n)], "label": ["a", "b"] * (n // 2), **columns}
    )


def ids(data, split: str) -> set[int]:
    return set(data.splits[split]["id"][:])


def test_a_group_stays_on_one_side():
    authors = [f"author {i % 20}" for i in range(100)]
    data = load_text_data(rows(author=authors), split={"group": "author"})
    sides = [{authors[i] for i in ids(data, split)} for split in data.splits]
    assert sum(map(len, sides)) == 20
    assert sum(len(part) for part in data.splits.values()) == 100
    assert "cut from train by group" in data.notes[-1]


def test_a_split_by_time_never_learns_from_the_future():
    days = [date(2026, 1, 1) + timedelta(days=(37 * i) % 100) for i in range(100)]
    data = load_text_data(rows(day=days), split={"time": "day"})
    train, validation, test = ([days[i] for i in ids(data, name)] for name in data.splits)
    assert max(train) < min(validation) <= max(validation) < min(test)
    assert (len(train), len(validation), len(test)) == (80, 10, 10)


def test_rows_of_one_time_stay_together():
    days = [i // 25 for i in range(100)]
    data = load_text_data(rows(day=days), split={"time": "day"})
    assert {days[i] for i in ids(data, "test")} == {3}
    assert {days[i] for i in ids(data, "validation")} == {2}


def test_a_row_without_a_time_is_named():
    with pytest.raises(DataError, match=r"data\.split\.time[\s\S]*1 of 100 rows[\s\S]*row 7"):
        load_text_data(rows(day=[None if i == 7 else i for i in range(100)]), split={"time": "day"})


def test_every_row_is_in_one_fold_and_the_test_split_is_in_none():
    folds = [load_text_data(rows(), split={"folds": 5, "fold": i}) for i in range(5)]
    test = ids(folds[0], "test")
    assert all(ids(data, "test") == test for data in folds)
    parts = [ids(data, "validation") for data in folds]
    assert sum(map(len, parts)) == 90 == len(set.union(*parts))
    for data, part in zip(folds, parts, strict=True):
        assert ids(data, "train") == set(range(100)) - test - part
        assert 16 <= len(part) <= 20
    assert "fold 3 of 5" in folds[3].notes[-1]


def test_folds_need_a_validation_split_to_cut():
    source = DatasetDict({"train": rows(), "validation": rows(10), "test": rows(10)})
    with pytest.raises(DataError, match=r"data\.split\.folds[\s\S]*validation split of its own"):
        load_text_data(source, split={"folds": 5})


def test_a_smaller_limit_keeps_rows_of_the_larger_and_each_label_s_share():
    parts = [load_text_data(rows(), limit=limit) for limit in (10, 40, 0.75)]
    kept = [ids(data, "train") for data in parts]
    assert [len(part) for part in kept] == [10, 40, 60]
    assert kept[0] < kept[1] < kept[2]
    assert all(sum(i % 2 for i in part) == len(part) // 2 for part in kept)
    assert len({frozenset(ids(data, "test")) for data in parts}) == 1


def test_what_is_evaluated_can_be_limited_too():
    """Of validation and of test alike; train is another matter, and the limit cuts nothing twice."""
    whole, few, share = (load_text_data(rows(), eval_limit=limit) for limit in (None, 5, 0.5))
    assert ids(whole, "train") == ids(few, "train") == ids(share, "train")
    for split in ("validation", "test"):
        assert (len(ids(few, split)), len(ids(share, split))) == (5, round(len(ids(whole, split)) / 2))
        assert ids(few, split) < ids(whole, split)
        assert any(f"{split} limited to 5 of" in note for note in few.notes)
    with pytest.raises(DataError, match=r"data\.eval_limit = 0[\s\S]*"):
        load_text_data(rows(), eval_limit=0)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50, 0.01, 0.5])
def test_a_limit_is_kept_to_the_row_with_many_labels_and_copies(limit):
    source = {
        "text": [f"text {i // 3}" for i in range(150)],
        "label": [f"label {i // 6}" for i in range(150)],
    }
    data = load_text_data(Dataset.from_dict(source), limit=limit)
    train = data.splits["train"]
    whole = load_text_data(Dataset.from_dict(source)).splits["train"]
    assert len(train) == (limit if limit >= 1 else max(1, round(limit * len(whole))))
    found, there = len(set(train["labels"])), len(set(whole["labels"]))
    assert found == min(len(train), there)
    assert (f", with {found} of {there} labels" in data.notes[-1]) == (found < there)


def test_the_order_of_the_file_changes_no_split():
    shuffled = rows().shuffle(seed=3)
    one, other = load_text_data(rows()), load_text_data(shuffled)
    for name in one.splits:
        assert sorted(one.splits[name]["text"]) == sorted(other.splits[name]["text"])
    assert {name: sorted(hashes) for name, hashes in one.row_hashes().items()} == {
        name: sorted(hashes) for name, hashes in other.row_hashes().items()
    }


def test_small_labels_together_fill_a_split():
    labels = [f"label {i // 4}" for i in range(100)]
    data = load_text_data(rows().remove_columns("label").add_column("label", labels))
    assert [len(data.splits[name]) for name in data.splits] == [80, 10, 10]


def test_folds_of_equal_parameters_are_summarised():
    study = optuna.create_study(direction="maximize")
    for fold, rank, value in ((0, 4, 0.5), (1, 4, 0.7), (0, 8, 0.9)):
        space = {"data.split.fold": optuna.distributions.IntDistribution(0, 1)}
        space["peft.r"] = optuna.distributions.IntDistribution(4, 8)
        study.add_trial(
            optuna.trial.create_trial(
                params={"data.split.fold": fold, "peft.r": rank}, distributions=space, value=value
            )
        )
    found = repeats_of(study.trials)
    assert found[0] == found[1] == Repeats("folds", (0.5, 0.7))
    columns = found[0].columns()
    assert (columns["folds"], round(columns["folds_mean"], 6)) == (2, 0.6)
    assert round(columns["folds_sd"], 6) == round(0.2 / 2**0.5, 6)
    assert found[2].columns() == {"folds": 1, "folds_mean": 0.9, "folds_sd": ""}


def test_a_sweep_over_seeds_is_won_by_the_best_mean_and_says_so_as_the_confirmation_does():
    study = optuna.create_study(direction="maximize")
    axes = {"peft.r": IntDistribution(1, 64), "seed": IntDistribution(0, 4)}
    for rank, values in {4: [0.99, 0.5], 8: [0.8, 0.81]}.items():  # the luckiest run isn't the best setting
        for seed, value in enumerate(values):
            params = {"peft.r": rank, "seed": seed}
            study.add_trial(optuna.trial.create_trial(params=params, distributions=axes, value=value))
    order = ranked_trials(study)
    assert [trial.number for trial in order] == [3, 2, 0, 1]
    assert [[trial.number for trial in group] for group in configurations(order)] == [[3, 2], [0, 1]]
    assert str(repeats_of(order)[3]) == "mean of 2 seeds 0.8050"


def test_a_cross_validation_is_won_by_the_best_mean_over_all_folds():
    study = optuna.create_study(direction="maximize")
    values = {4: [0.95, 0.8, 0.8], 8: [0.9, 0.9, 0.91], 16: [0.99, 0.99]}  # a fold of r=16 was pruned
    axes = {"peft.r": IntDistribution(1, 64), FOLD: IntDistribution(0, 4)}
    for rank, folds in values.items():
        for fold, value in enumerate(folds):
            params = {"peft.r": rank, FOLD: fold}
            study.add_trial(optuna.trial.create_trial(params=params, distributions=axes, value=value))
    order = [(trial.params["peft.r"], trial.values[0]) for trial in ranked_trials(study)]
    assert order[:3] == [(8, 0.91), (8, 0.9), (8, 0.9)]
    assert order[-2:] == [(16, 0.99), (16, 0.99)]
