"""What a run's data are like, in a few numbers."""

import pytest

from finesweep.data import load_text_data
from finesweep.runs.features import features_of

CONFIG = {"model": {"_target_": "finesweep.models.load_classifier", "name": "minilm"},
          "peft": {"_target_": "peft.LoraConfig"}}  # fmt: skip


def found(labels, columns=("text",), **settings):
    """Return the features of train rows with these labels."""
    rows = [
        {**{name: f"row {i} of {name}" for name in columns}, "label": label} for i, label in enumerate(labels)
    ]
    splits = {"train": rows, "validation": rows[:8], "test": rows[:8]}
    data = load_text_data(splits, text_column=list(columns), on_leak="warn", **settings)
    return features_of(data, CONFIG)


def test_labels_are_counted_and_their_evenness_is_their_entropy():
    even, uneven = found(["a", "b"] * 20), found(["a", "b", "a", "a"] * 10)
    assert even == {
        "task": "single_label_classification", "pairs": False, "rows": 40, "labels": 2, "words": 4.0,
        "evenness": 1.0, "model": "minilm", "method": "peft.LoraConfig",
    }  # fmt: skip
    assert uneven["evenness"] == pytest.approx(0.8113, abs=1e-4)  # of 3/4 and 1/4, in bits


def test_pairs_have_the_words_of_both_texts():
    pairs = found(["a", "b"] * 20, columns=("text", "other"))
    assert (pairs["pairs"], pairs["words"]) == (True, 8.0)


def test_several_labels_of_a_row_and_numbers_have_features_too():
    several = found([["a"], ["a", "b"]] * 20, task="multi-label")
    assert several["task"] == "multi_label_classification"
    assert several["evenness"] == pytest.approx(0.9183, abs=1e-4)  # of 2/3 and 1/3
    numbers = found([0.5 + i for i in range(40)], task="regression")
    assert (numbers["task"], numbers["labels"], numbers["evenness"]) == ("regression", 1, 1.0)
