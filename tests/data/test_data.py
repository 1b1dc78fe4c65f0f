"""Sources, label schema, splits: what they give, and what they refuse."""

import json

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from finesweep.data import LabelSchema, load_text_data, sources
from finesweep.data.splits import stratified_split
from finesweep.errors import DataError


def rows(n: int = 40, labels: tuple = ("a", "b")) -> Dataset:
    return Dataset.from_dict(
        {"text": [f"text {i}" for i in range(n)], "label": [labels[i % len(labels)] for i in range(n)]}
    )


def write_texts(root, texts: dict[str, list[bytes]]):
    for label, contents in texts.items():
        (root / label).mkdir(parents=True)
        for i, content in enumerate(contents):
            (root / label / f"{i}.txt").write_bytes(content)
    return root


def test_text_folders_give_one_row_a_file_in_name_order(tmp_path):
    write_texts(tmp_path, {"b": [b"two", b"three"], "a": ["\ufeffone".encode()]})
    read = sources.text_folders(str(tmp_path))
    assert read["text"][:] == ["one", "two", "three"]
    assert read["label"][:] == ["a", "b", "b"]


def test_text_folders_know_split_folders(tmp_path):
    write_texts(tmp_path / "train", {"a": [b"x"], "b": [b"y"]})
    write_texts(tmp_path / "test", {"a": [b"z"]})
    read = sources.text_folders(str(tmp_path))
    assert {name: len(part) for name, part in read.items()} == {"train": 2, "test": 1}


def test_a_file_of_another_encoding_is_named_with_the_keys_to_set(tmp_path):
    write_texts(tmp_path, {"a": [b"caf\xe9"]})
    with pytest.raises(DataError, match=r"0\.txt[\s\S]*0xe9 at position 3[\s\S]*data\.source\.encoding"):
        sources.text_folders(str(tmp_path))
    assert sources.text_folders(str(tmp_path), encoding="latin-1")["text"][:] == ["caf\u00e9"]
    assert sources.text_folders(str(tmp_path), encoding_errors="replace")["text"][:] == ["caf\ufffd"]


def test_csv_reads_quotes_newlines_and_a_byte_order_mark(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_bytes('\ufefftext,label\n"a, ""b""\nc",1\nplain,0\n'.encode())
    read = sources.csv(str(file))["train"]
    assert read["text"][:] == ['a, "b"\nc', "plain"]
    assert read["label"][:] == [1, 0]


def test_a_ragged_csv_is_refused_with_its_name(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("text,label\na,b,c\n")
    with pytest.raises(DataError, match=r"rows\.csv"):
        sources.csv(str(file))


def test_a_hub_data_set_s_layout_is_read_from_a_folder(tmp_path):
    folder = tmp_path / "dataset"
    folder.mkdir()
    for split, count in (("train", 6), ("test", 2)):
        lines = [json.dumps({"text": f"{split} {i}", "label": i % 2}) for i in range(count)]
        (folder / f"{split}.jsonl").write_text("\n".join(lines))
    loaded = sources.hub(str(folder), splits={"train": "train", "validation": None, "test": "test"})
    assert {name: len(part) for name, part in loaded.items()} == {"train": 6, "test": 2}
    with pytest.raises(DataError, match=r"no such split[\s\S]*data\.source\.splits\.test=null"):
        sources.hub(str(folder), splits={"train": "train", "test": "tset"})


def test_missing_splits_are_cut_from_train_and_never_from_test():
    test = Dataset.from_dict({"text": ["held out"], "label": ["a"]})
    data = load_text_data(DatasetDict({"train": rows(), "test": test}), split={"validation": 0.25})
    assert data.splits["test"]["text"][:] == ["held out"]
    assert len(data.splits["train"]) == 30
    assert len(data.splits["validation"]) == 10
    assert not set(data.splits["train"]["text"][:]) & set(data.splits["validation"]["text"][:])


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (["b", "a"] * 20, ("a", "b")),
        ([10, 2] * 20, ("2", "10")),
        ([True, False] * 20, ("False", "True")),
    ],
)
def test_labels_become_sorted_ids_whatever_their_type(values, names):
    data = load_text_data(Dataset.from_dict({"text": [f"t{i}" for i in range(40)], "label": values}))
    assert data.schema.names == names
    by_text = dict(zip((f"t{i}" for i in range(40)), values, strict=True))
    for part in data.splits.values():
        for text, label in zip(part["text"][:], part["labels"][:], strict=True):
            assert data.schema.names[label] == str(by_text[text])


def test_class_labels_keep_their_names():
    features = Features({"text": Value("string"), "label": ClassLabel(names=["neg", "pos"])})
    data = load_text_data(
        Dataset.from_dict({"text": [f"t{i}" for i in range(40)], "label": [0, 1] * 20}, features)
    )
    assert data.schema == LabelSchema(("neg", "pos"), (0, 1))


@pytest.mark.parametrize(
    ("source", "arguments", "message"),
    [
        (rows(), {"text_column": "txt"}, r"data\.text_column = txt[\s\S]*Did you mean `text`"),
        (rows(), {"label_column": "topic"}, r"data\.label_column = topic[\s\S]*Valid: text, label"),
        (rows(labels=("a",)), {}, "two labels or more; train has only `a`"),
        (rows(labels=(0.5, 1.5)), {"task": "single-label"}, "these are float"),
        (rows(n=4), {}, r"data\.split\.validation[\s\S]*would be empty"),
        (Dataset.from_dict({"text": [], "label": []}), {}, "train split has no rows"),
        (Dataset.from_dict({"text": ["a", " ", None], "label": ["x", "y", None]}), {},
         r"1 of 3 rows[\s\S]*empty text: row 1"),
        (DatasetDict({"test": rows()}), {}, "no train split"),
        (42, {}, r"data\.source"),
        (DatasetDict({"train": rows(), "test": rows(labels=("a", "c"))}), {},
         r"20 of 40 rows of the test[\s\S]*train doesn't have, `c`: rows 1, 3"),
        (DatasetDict({"train": rows(labels=(0, 1)), "test": rows(labels=(-1,))}), {},
         r"40 of 40 rows of the test[\s\S]*label -1, as unlabelled rows do"),
    ],
)  # fmt: skip
def test_wrong_data_is_refused_with_its_reason(source, arguments, message):
    with pytest.raises(DataError, match=message):
        load_text_data(source, **arguments)


def test_duplicates_are_dropped_and_counted():
    twice = Dataset.from_dict(
        {"text": [f"t{i // 2}" for i in range(80)], "label": [i // 2 % 2 for i in range(80)]}
    )
    data = load_text_data(twice, drop_duplicates=True)
    assert sum(len(part) for part in data.splits.values()) == 40
    assert "40 duplicate rows dropped" in data.notes


def test_the_fingerprint_sees_every_word_and_label():
    one = load_text_data(rows()).fingerprint()
    changed = rows().to_dict()
    changed["text"][7] += "!"
    relabelled = rows().to_dict()
    relabelled["label"][7] = "a"
    others = [load_text_data(Dataset.from_dict(content)).fingerprint() for content in (changed, relabelled)]
    assert load_text_data(rows()).fingerprint() == one
    assert len({one, *others}) == 3


@given(
    labels=st.lists(st.sampled_from("abc"), min_size=30, max_size=80),
    order=st.randoms(use_true_random=False),
    seed=st.integers(0, 5),
)
@settings(max_examples=50, deadline=None)
def test_a_split_depends_on_content_and_seed_alone(labels, order, seed):
    contents = [f"row {i // 2}" for i in range(len(labels))]  # copies in pairs
    labels = [labels[i // 2] for i in range(len(labels))]
    shares = {"validation": 0.2, "test": 0.2}
    try:
        first = stratified_split(contents, labels, shares, seed)
    except DataError:
        return
    shuffled = list(range(len(labels)))
    order.shuffle(shuffled)
    second = stratified_split([contents[i] for i in shuffled], [labels[i] for i in shuffled], shares, seed)
    assert sorted(i for part in first.values() for i in part) == list(range(len(labels)))
    for name, part in first.items():
        assert sorted(contents[i] for i in part) == sorted(contents[shuffled[i]] for i in second[name])
    sides = {
        content: {name for name, part in first.items() for i in part if contents[i] == content}
        for content in contents
    }
    assert all(len(side) == 1 for side in sides.values())


def test_splits_keep_the_share_of_each_label():
    labels = ["rare"] * 20 + ["common"] * 180
    parts = stratified_split([f"t{i}" for i in range(200)], labels, {"validation": 0.1, "test": 0.1}, seed=0)
    for name, total in (("validation", 20), ("test", 20), ("train", 160)):
        assert len(parts[name]) == total
        assert sum(labels[i] == "rare" for i in parts[name]) == total // 10
    other = stratified_split([f"t{i}" for i in range(200)], labels, {"validation": 0.1, "test": 0.1}, seed=1)
    assert other["test"] != parts["test"]
