"""Every problem type: how labels are read, what is refused, and a whole run of each."""

import json
import math

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from pyarrow import parquet

from composing import compose_config
from finesweep.data import load_text_data
from finesweep.data.spans import broken_spans
from finesweep.errors import ConfigError, DataError
from finesweep.runs.run import run
from tiny import COLOURS, task


def table(labels, text=None, **columns) -> Dataset:
    texts = text or [f"text number {i}" for i in range(len(labels))]
    return Dataset.from_dict({"text": texts, "label": labels, **columns})


def labels_by_text(data) -> dict[str, object]:
    return {
        text: label
        for part in data.splits.values()
        for text, label in zip(part["text"][:], part["labels"][:], strict=True)
    }


@pytest.mark.parametrize(
    ("labels", "problem_type", "reason"),
    [
        (["a", "b"] * 20, "single_label_classification", "2 different texts"),
        ([3, 7] * 20, "single_label_classification", "2 different whole numbers"),
        ([True, False] * 20, "single_label_classification", "2 different bools"),
        ([["a"], ["a", "b"]] * 20, "multi_label_classification", "labels are lists"),
        ([0.5, 1.0] * 20, "regression", "numbers with fractions"),
    ],
)
def test_auto_decides_by_the_labels_and_says_why(labels, problem_type, reason):
    data = load_text_data(table(labels))
    assert data.schema.problem_type == problem_type
    assert reason in data.notes[0]


@pytest.mark.parametrize("labels", [[1.0, 2.0] * 20, list(range(40))])
def test_numbers_that_could_be_classes_or_amounts_need_a_word(labels):
    with pytest.raises(DataError, match=r"data\.task=single-label or data\.task=regression"):
        load_text_data(table(labels))
    assert load_text_data(table(labels), task="regression").schema.problem_type == "regression"


def test_whole_floats_are_classes_when_one_says_so():
    assert load_text_data(table([1.0, 2.0] * 20), task="single-label").schema.names == ("1", "2")


def test_given_label_names_are_an_assertion():
    rows = table(["a", "b"] * 20)
    assert load_text_data(rows, label_names=["b", "a"]).schema.names == ("a", "b")
    with pytest.raises(DataError, match=r"data\.label_names[\s\S]*train has b beside them; train lacks c"):
        load_text_data(rows, label_names=["a", "c"])


def named_lists() -> Dataset:
    features = Features({"text": Value("string"), "label": List(ClassLabel(names=list(COLOURS)))})
    return Dataset.from_dict(table([[0], [0, 2], [1], []] * 10).to_dict(), features)


@pytest.mark.parametrize(
    ("source", "arguments", "names"),
    [
        (table([["red"], ["red", "blue"], ["green"], []] * 10), {}, ("blue", "green", "red")),
        (table(["red", "red;blue", "green", ""] * 10), {"label_delimiter": ";"}, ("blue", "green", "red")),
        (table([[1, 0, 0], [1, 0, 1], [0, 1, 0], [0, 0, 0]] * 10), {}, ("0", "1", "2")),
        (named_lists(), {}, ("red", "green", "blue")),
        (table([0] * 40, red=[1, 1, 0, 0] * 10, green=[0, 0, 1, 0] * 10, blue=[0, 1, 0, 0] * 10),
         {"label_column": list(COLOURS)}, ("red", "green", "blue")),
    ],
)  # fmt: skip
def test_several_labels_come_in_many_shapes(source, arguments, names):
    data = load_text_data(source, **arguments)
    assert data.schema.names == names
    order = [names.index(name) for name in COLOURS] if "red" in names else [0, 1, 2]
    wanted = [[1, 0, 0], [1, 0, 1], [0, 1, 0], [0, 0, 0]]
    for text, label in labels_by_text(data).items():
        assert [label[i] for i in order] == wanted[int(text.split()[-1]) % 4]


def test_regression_targets_are_standardised_by_train_alone():
    rows = DatasetDict({"train": table([0.5, 10.0] * 20), "test": table([100.5] * 5, ["test"] * 5)})
    data = load_text_data(rows)
    schema = data.schema
    train = np.array([*data.splits["train"]["labels"], *data.splits["validation"]["labels"]])
    assert abs(train.mean()) < 1e-6
    assert abs(train.std() - 1) < 1e-6
    np.testing.assert_allclose(np.array(data.splits["test"]["labels"]) * schema.scale + schema.mean, 100.5)
    plain = load_text_data(rows, standardize=False)
    assert set(plain.splits["test"]["labels"]) == {100.5}


def test_a_target_that_looks_like_an_ignored_label_counts():
    import torch

    from finesweep.training.losses import Loss, count_labels

    data = load_text_data(table([-100.0, 0.5] * 20), standardize=False)
    labels = torch.tensor(data.splits["train"]["labels"][:])
    assert count_labels(labels) == len(labels)
    assert Loss("regression")(torch.zeros(len(labels), 1), labels) > 100**2 * len(labels) / 3


def sentences(count: int = 40) -> Dataset:
    words = [["Ann", "met", "Bob", "Lee", f"at{i}"] for i in range(count)]
    return Dataset.from_dict({"words": words, "tags": [["B-PER", "O", "B-PER", "I-PER", "O"]] * count})


def test_words_with_tags_are_token_classification():
    data = load_text_data(sentences(), text_column="words", label_column="tags")
    assert data.schema.problem_type == "token_classification"
    assert data.schema.names == ("B-PER", "I-PER", "O")
    assert data.splits["train"][0]["labels"] == [0, 2, 0, 1, 2]


def test_tags_that_start_in_the_middle_are_counted():
    names = ["B-LOC", "B-PER", "I-ORG", "I-PER", "O"]
    assert broken_spans(["I-PER", "I-PER", "O", "B-LOC", "I-ORG"], names) == 2
    assert broken_spans(["B-PER", "I-PER", "O", "O"], names) == 0


@pytest.mark.parametrize(
    ("source", "arguments", "message"),
    [
        (table([["a"], ["b"]] * 20), {"task": "single-label"}, "these are list"),
        (table(["a,b", "b"] * 20), {"task": "multi-label"}, r"data\.label_delimiter"),
        (table([["a"], ["a"]] * 20), {}, "two labels or more; train has 1"),
        (table([[1, 0, 0]] * 38 + [[1, 0]] * 2), {}, r"2 of 40 rows[\s\S]*not 3 numbers[\s\S]*rows 38, 39"),
        (table([["a"], ["b"]] * 19 + [None, ["a"]]), {}, r"no label: row 38"),
        (table([0.5, float("nan"), 0.75, float("nan")] * 10), {}, r"20 of 40 rows[\s\S]*no label: rows 1, 3"),
        (table([0.5, math.inf] + [0.25] * 38), {}, "an infinite label: row 1"),
        (table(["1.5", "2"] * 20), {"task": "regression"}, "targets are numbers; train has none"),
        (table([2.5] * 40), {}, "All targets of train are 2.5"),
        (table(["a", "b"] * 20), {"task": "token-classification"}, "takes lists of words"),
        (sentences(), {"text_column": "words", "label_column": "tags", "task": "regression"},
         "lists of words"),
        (table(["a", "b"] * 20), {"text_column": ["text", "text", "text"]}, "two for pairs"),
        (table(["a", "b"] * 20), {"class_weights": [1.0]}, "2 numbers, one for each label"),
        (table([0.5, 1.5] * 20), {"class_weights": "balanced"}, "no classes"),
        (table(["a", "b"] * 20), {"limit": 0}, r"data\.limit"),
        (table(["a", "b"] * 20), {"split": {"validaton": 0.2}}, "Did you mean `validation`"),
        (table(["a", "b"] * 20), {"split": {"folds": 3, "fold": 3}}, "Folds count from 0"),
        (table(["a", "b"] * 20), {"split": {"group": "author"}}, r"data\.split\.group = author"),
    ],
)  # fmt: skip
def test_labels_that_don_t_suit_are_refused(source, arguments, message):
    with pytest.raises(DataError, match=message):
        load_text_data(source, **arguments)


def test_every_fault_is_reported_at_once_with_rows_of_the_file():
    rows = table(["a", "b", None, "a"] * 10, ["fine", " ", "fine", None] * 10)
    with pytest.raises(DataError) as caught:
        load_text_data(rows)
    text = str(caught.value)
    assert "10 of 40 rows of the train split have no text: rows 3, 7, 11, 15, 19, ..." in text
    assert "10 of 40 rows of the train split have empty text: rows 1, 5" in text
    assert "10 of 40 rows of the train split have no label: rows 2, 6" in text


def test_invalid_rows_are_dropped_and_counted_when_one_asks_for_it():
    texts = [f"text {i}" if i % 4 else None for i in range(80)]
    data = load_text_data(table(["a", "b"] * 40, texts), on_invalid="drop")
    assert "20 of 80 train rows dropped as invalid" in data.notes
    ids = [i for part in data.splits.values() for i in part["id"]]
    assert sorted(ids) == [i for i in range(80) if i % 4]


def test_invalid_rows_are_shown_with_what_they_say():
    labels = [None if i in (3, 5) else "ab"[i % 2] for i in range(40)]
    with pytest.raises(DataError) as refused:
        load_text_data(table(labels, [f"text {i}" + " and so on" * 9 for i in range(40)]))
    assert "have no label: rows 3, 5\n    row 3: 'text 3 and so on" in str(refused.value)
    assert "so on', label None\n    row 5: 'text 5 and so on" in str(refused.value)


@pytest.mark.parametrize("odd", [None, -1, 2])
def test_a_column_of_0_and_1_with_something_else_is_no_list_of_label_numbers(odd):
    flags = {"red": [i % 2 for i in range(40)], "green": [int(i % 3 == 0) for i in range(40)]}
    flags["red"][7] = odd
    rows = Dataset.from_dict({"text": [f"text {i}" for i in range(40)], **flags})
    with pytest.raises(DataError, match=r"1 of 40 rows of the train split have (no label|not 2 numbers)"):
        load_text_data(rows, label_column=["red", "green"])
    data = load_text_data(rows, label_column=["red", "green"], on_invalid="drop")
    assert data.schema.names == ("red", "green")
    found = {
        i: labels
        for part in data.splits.values()
        for i, labels in zip(part["id"], part["labels"], strict=True)
    }
    assert found == {i: [flags["red"][i], flags["green"][i]] for i in range(40) if i != 7}


def test_leaks_are_found_apart_from_case_and_space():
    train = table(["a", "b"] * 20)
    test = table(["a", "b", "a"], ["Text  Number 3", "text number 5", "something else"])
    source = DatasetDict({"train": train, "test": test})
    warned = load_text_data(source)
    assert any(
        "2 of 3 test rows are also in train (1 of them to the letter): rows 0, 1" in w
        for w in warned.warnings
    )
    with pytest.raises(DataError, match=r"data\.on_leak[\s\S]*also in train"):
        load_text_data(source, on_leak="error")
    dropped = load_text_data(source, on_leak="drop")
    assert len(dropped.splits["test"]) == 3
    assert {3, 5}.isdisjoint([*dropped.splits["train"]["id"], *dropped.splits["validation"]["id"]])


def test_copies_and_conflicts_are_said():
    rows = table(["a", "b"] * 20 + ["a", "b"], [f"t{i}" for i in range(40)] + ["t0", "t2"])
    warnings = " ".join(load_text_data(rows).warnings)
    assert "1 of 42 train rows are copies of others (row 40)" in warnings
    what = "2 train rows have the text of another, case and white space aside, with another label"
    assert f"{what}: rows 2, 41\n    row 2: 't2', label 'a'\n    row 41: 't2', label 'b'" in warnings


def test_near_copies_within_a_split_are_said_and_stay():
    texts = [f"t{i}" for i in range(40)] + ["T0", " t2", "T0"]
    rows = table(["a", "b"] * 20 + ["a", "b", "a"], texts)
    for drop, count in ((False, 43), (True, 42)):
        data = load_text_data(rows, drop_duplicates=drop)
        warnings = " ".join(data.warnings)
        what = "train rows differ from others in case or white space alone (row 40); they stay"
        assert f"1 of {count} {what}" in warnings
        assert (
            "case and white space aside, with another label: rows 2, 41\n    row 2: 't2', label" in warnings
        )
        assert ("copies of others (row 42)" in warnings) != drop
        assert sum(map(len, data.splits.values())) == count


def test_rare_labels_and_broken_spans_are_said():
    rare = load_text_data(table(["a", "b"] * 20 + ["odd", "odd"]))
    assert any("1 of 3 labels have fewer rows than there are splits: `odd` (2)" in w for w in rare.warnings)
    broken = sentences().to_dict()
    broken["tags"][3] = ["I-PER", "O", "B-PER", "I-PER", "O"]
    data = load_text_data(Dataset.from_dict(broken), text_column="words", label_column="tags")
    assert any("1 spans of train start with I- instead of B-" in w for w in data.warnings)


def test_balanced_weights_make_labels_count_the_same():
    split = {"validation": 0.1, "test": 0.1}
    data = load_text_data(table(["rare"] * 20 + ["often"] * 60), class_weights="balanced", split=split)
    counts = np.bincount(data.splits["train"]["labels"][:])
    np.testing.assert_allclose(np.array(data.class_weights) * counts, len(data.splits["train"]) / 2)


@pytest.mark.parametrize("trainer", ["hf", "native"])
@pytest.mark.parametrize(
    "kind", ["single-label", "multi-label", "regression", "pair", "token-classification"]
)
@pytest.mark.often("*-hf", "token-classification-native")
def test_a_run_of_each_task_leaves_predictions_a_baseline_and_an_adapter(
    kind, trainer, tiny_overrides, tmp_path
):
    rows, words = task(kind, tiny_overrides, tmp_path)
    words += [f"trainer={trainer}"]
    result = run(compose_config(*words), overrides=words)
    stored = json.loads((result.folder / "result.json").read_text())
    metric = {"multi-label": "f1_micro", "regression": "pearson", "token-classification": "span_f1"}.get(
        kind, "accuracy"
    )
    assert stored["objective"]["metric"] == metric
    assert f"test/{metric}" in stored["metrics"]
    assert f"test/{metric}" in stored["baseline"]
    predictions = parquet.read_table(result.folder / "predictions" / "test.parquet").to_pydict()
    column = "tags" if kind == "token-classification" else "label"
    for i, label in zip(predictions["id"], predictions["label"], strict=True):
        wanted = rows[i][column]
        assert (sorted(label) == sorted(wanted) if kind == "multi-label" else label == wanted) or (
            kind == "regression" and abs(label - wanted) < 1e-4
        )
    labels = json.loads((result.folder / "labels.json").read_text())
    assert ("thresholds" in labels) is (kind == "multi-label")
    assert_reloads(result.folder, kind, rows, predictions)


def assert_reloads(folder, kind, rows, predictions):
    """Check that the adapter alone predicts what the run predicted."""
    import peft
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "tokenizer")
    if kind == "token-classification":
        model = peft.AutoPeftModelForTokenClassification.from_pretrained(folder / "adapter").eval()
        row = rows[predictions["id"][0]]
        batch = tokenizer(
            [row["words"]], is_split_into_words=True, return_tensors="pt", max_length=16, truncation=True
        )
        with torch.no_grad():
            tags = model(**batch).logits[0].argmax(-1).tolist()
        first = [batch.word_ids(0).index(i) for i in range(3)]
        assert [model.config.id2label[tags[i]] for i in first] == predictions["predicted"][0][:3]
        return
    model = peft.AutoPeftModelForSequenceClassification.from_pretrained(folder / "adapter").eval()
    some = [rows[i] for i in predictions["id"]]
    texts = (
        [[row["one"] for row in some], [row["two"] for row in some]]
        if kind == "pair"
        else [[r["text"] for r in some]]
    )
    batch = tokenizer(*texts, padding=True, truncation=True, max_length=16, return_tensors="pt")
    with torch.no_grad():
        logits = model(**batch).logits
    if kind == "regression":
        schema = json.loads((folder / "labels.json").read_text())
        numbers = logits[:, 0].double().numpy() * schema["scale"] + schema["mean"]
        np.testing.assert_allclose(numbers, predictions["predicted"], rtol=1e-4)
        return
    scores = logits.sigmoid() if kind == "multi-label" else logits.softmax(-1)
    for i, name in model.config.id2label.items():
        np.testing.assert_allclose(scores[:, i].numpy(), predictions[f"p/{name}"], atol=1e-5)


def test_a_metric_of_another_task_is_refused_once_the_task_is_known(tiny_overrides, tmp_path):
    _, words = task("regression", tiny_overrides, tmp_path)
    words += ["objective.metric=accuracy"]
    with pytest.raises(ConfigError, match=r"objective\.metric = accuracy[\s\S]*regression[\s\S]*pearson"):
        run(compose_config(*words), overrides=words)
