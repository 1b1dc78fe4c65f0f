"""What two splits share: texts, pairs, groups; and what is done about it."""

import re

import pytest
from datasets import Dataset, DatasetDict

from finesweep.data import load_text_data
from finesweep.data.likeness import nearly_equal
from finesweep.errors import DataError

LONG, OTHER = (" ".join(f"{word}{i}" for i in range(60)) for word in ("word", "some"))


def split(texts, first: int = 0, **columns) -> Dataset:
    others = [f"text {first + i}" for i in range(40)]
    more = {name: [*values, *(f"{name} {first + i}" for i in range(40))] for name, values in columns.items()}
    texts = [*texts, *others]
    return Dataset.from_dict({"text": texts, "label": ["a", "b"] * (len(texts) // 2), **more})


def both(train: Dataset, test: Dataset) -> DatasetDict:
    return DatasetDict({"train": train, "test": test})


def is_treated(source, said: str, **settings) -> None:
    """Check all that data.on_leak can say about two leaking rows of test and of train."""
    (warning,) = load_text_data(source, **settings).warnings
    assert f"2 of 42 test rows {said}" in warning
    with pytest.raises(DataError, match=rf"data\.on_leak[\s\S]*{re.escape(said)}"):
        load_text_data(source, **settings, on_leak="error")
    data = load_text_data(source, **settings, on_leak="drop")
    kept = data.splits["train"]["id"][:]
    assert (kept, len(data.splits["test"])) == (list(range(2, 42)), 42)
    assert "2 train rows dropped that a later split shares" in data.notes


@pytest.mark.parametrize(
    ("train", "test", "said"),
    [
        (
            ["One text", "two\u200bmore"],
            ["one  text", "twomore"],
            "are also in train (0 of them to the letter)",
        ),
        (["caf\u00e9 x", "\ufeffsome"], ["cafe\u0301 x", "some"], "are also in train"),
        ([LONG, "B" + OTHER], [LONG + "!", "C" + OTHER], "are those of train but for a few characters"),
        (
            [LONG.upper(), OTHER],
            [LONG + " (more)", OTHER[:50] + "?" + OTHER[50:]],
            "are those of train",
        ),
    ],
)
def test_texts_in_two_splits_are_treated_however_they_are_spelled(train, test, said):
    source = DatasetDict({**both(split(train), split(test, 100)), "validation": split([], 200)})
    is_treated(source, said)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ([7, 8], ["7", "8.0"]),
        (["Ann", "Bob"], ["ann ", "B\u200bob"]),
        (["007", "x  y"], [7, 9]),
    ],
)
def test_groups_in_two_given_splits_are_treated_however_they_are_spelled(train, test):
    sides = [
        Dataset.from_dict(
            {
                "text": [f"{name} {i}" for i in range(42)],
                "label": ["a", "b"] * 21,
                "author": [
                    *groups,
                    *[start + i if isinstance(groups[0], int) else f"{name}{i}" for i in range(40)],
                ],
            }
        )
        for name, groups, start in (("train", train, 1000), ("test", test, 2000))
    ]
    data = load_text_data(both(*sides), split={"group": "author"})
    assert any(
        "test rows are of groups that are also in train (data.split.group)" in w for w in data.warnings
    )
    assert any("spelled in several ways" in warning for warning in data.warnings)
    with pytest.raises(DataError, match="of groups that are also in train"):
        load_text_data(both(*sides), split={"group": "author"}, on_leak="error")
    kept = load_text_data(both(*sides), split={"group": "author"}, on_leak="drop").splits
    assert 0 not in kept["train"]["id"][:] + kept["validation"]["id"][:]


def test_a_group_that_is_spelled_in_two_ways_stays_on_one_side_and_is_said():
    names = [f"{'Author' if i % 2 else 'author '} {i % 20 // 2}" for i in range(100)]
    source = Dataset.from_dict(
        {"text": [f"text {i}" for i in range(100)], "label": ["a", "b"] * 50, "author": names}
    )
    data = load_text_data(source, split={"group": "author"})
    sides = [{names[i].split()[-1] for i in part["id"][:]} for part in data.splits.values()]
    assert sum(map(len, sides)) == 10
    assert any("10 groups of `author` are spelled in several ways" in warning for warning in data.warnings)


def test_a_given_split_without_the_groups_is_told():
    data = load_text_data(both(split([], author=[]), split([], 100)), split={"group": "author"})
    assert any("test has no column `author`" in warning for warning in data.warnings)


def pairs(rows) -> Dataset:
    first, second = zip(*rows, strict=True)
    return Dataset.from_dict({"a": first, "b": second, "label": ["x", "y"] * (len(first) // 2)})


def plain(first: int) -> list[tuple[str, str]]:
    return [(f"left {first + i}", f"right {first + i}") for i in range(40)]


@pytest.mark.parametrize(
    ("train", "test", "said"),
    [
        (("One", "two"), ("two", "one"), "are also in train (0 of them to the letter, 2 as a pair the other"),
        (("one", "two"), ("three", "two"), "have one of their two texts in common with rows of train"),
        (("one", "two"), ("TWO", "three"), "have one of their two texts in common with rows of train"),
    ],
)
def test_pairs_in_two_splits_are_treated(train, test, said):
    source = both(pairs([train, train, *plain(0)]), pairs([test, test, *plain(100)]))
    source["train"] = source["train"].map(lambda row, i: {**row, "label": "xy"[i % 2]}, with_indices=True)
    assert any(f"2 of 42 test rows {said}" in w for w in load_text_data(source, ["a", "b"]).warnings)
    with pytest.raises(DataError, match=r"data\.on_leak"):
        load_text_data(source, ["a", "b"], on_leak="error")
    kept = load_text_data(source, ["a", "b"], on_leak="drop").splits
    assert not {0, 1} & {*kept["train"]["id"][:], *kept["validation"]["id"][:]}


@pytest.mark.parametrize("settings", [{}, {"folds": 4, "fold": 1}])
def test_a_pair_and_its_other_order_are_cut_to_one_side(settings):
    found = [pair for i in range(60) for pair in ((f"left {i}", f"right {i}"), (f"Right {i}", f"left {i} "))]
    data = load_text_data(pairs(found), ["a", "b"], split=settings)
    sides = [{row // 2 for row in part["id"][:]} for part in data.splits.values()]
    assert sum(map(len, sides)) == 60
    assert not data.warnings


def test_one_text_of_pairs_in_two_cut_splits_is_told_and_a_group_keeps_them_together():
    rows = [(f"question {i // 5}", f"answer {i}") for i in range(100)]
    data = load_text_data(pairs(rows), ["a", "b"])
    assert any("one of their two texts in common" in w and "data.split.group" in w for w in data.warnings)
    assert not load_text_data(pairs(rows), ["a", "b"], split={"group": "a"}).warnings


def test_copies_on_two_sides_of_a_cut_by_time_are_told():
    texts = ["the same"] + [f"text {i}" for i in range(98)] + ["The same"]
    source = Dataset.from_dict({"text": texts, "label": ["a", "b"] * 50, "day": list(range(100))})
    warnings = load_text_data(source, split={"time": "day"}).warnings
    assert any("1 of 10 test rows are also in train" in warning for warning in warnings)
    data = load_text_data(source, split={"time": "day"}, on_leak="drop")
    assert (len(data.splits["train"]), len(data.splits["test"])) == (79, 10)


@pytest.mark.parametrize(
    ("text", "other", "is_near"),
    [
        (LONG, LONG + " x", True),
        (LONG, "x " + LONG, True),
        (LONG, LONG[:200] + "y" + LONG[200:], True),
        (LONG, LONG[:200] + LONG[210:], True),
        (LONG, LONG + " and quite some more words than that, which are new", False),
        (LONG, "x" + LONG[:100] + LONG[150:], False),
        ("a short text", "a short text!", False),
        (LONG, LONG[::-1], False),
    ],
)
def test_long_texts_that_differ_in_one_place_are_nearly_equal(text, other, is_near):
    others = [*(f"{i} {LONG[::-1]}" for i in range(3)), other]
    assert nearly_equal([text], others) == ([(0, 3)] if is_near else [])


def test_a_beginning_that_many_texts_have_makes_them_no_copies():
    texts = [f"{LONG}: item {i}" for i in range(60)]
    assert not nearly_equal(texts[:30], texts[30:])
