"""Numbers with names attached: encoded apart, they mean what their names say."""

import pyarrow as pa
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from pyarrow import parquet

from composing import compose_config
from finesweep.commands.evaluate.rows import of_file
from finesweep.data import load_text_data, sources
from finesweep.errors import DataError
from finesweep.runs.run import run
from finesweep.runs.saved import SavedRun

NAMES = ("cat", "dog", "owl")


def rows(labels, names, kind=None) -> Dataset:
    """Return texts that say their label, whose numbers are places in `names`."""
    is_list = isinstance(labels[0], list)
    texts = [f"{' and '.join(label) if is_list else label} {i}" for i, label in enumerate(labels)]
    feature = kind or ClassLabel(names=list(names))
    numbers = [[names.index(n) for n in label] if is_list else names.index(label) for label in labels]
    features = Features({"text": Value("string"), "label": List(feature) if is_list else feature})
    return Dataset.from_dict({"text": texts, "label": numbers}, features=features)


def wrong_texts(data) -> list[str]:
    """Return the texts whose label isn't what they say."""
    names = data.schema.names
    return [
        text
        for part in data.splits.values()
        for text, label in zip(part["text"][:], part["labels"][:], strict=True)
        if names[label] != text.split()[0]
    ]


@pytest.mark.parametrize("other", [("owl", "dog", "cat"), ("dog", "owl"), ("cat", "bat", "dog", "owl")])
def test_splits_that_were_encoded_apart_are_read_by_their_names(other, tmp_path):
    splits = {"train": rows(list(NAMES) * 10, NAMES), "test": rows(["dog", "owl"] * 5, other)}
    assert not wrong_texts(load_text_data(splits))
    DatasetDict(splits).save_to_disk(tmp_path / "saved")
    assert not wrong_texts(load_text_data(sources.arrow(str(tmp_path / "saved"))))


def test_files_of_one_split_that_were_encoded_apart_are_read_by_their_names(tmp_path):
    files = [str(tmp_path / name) for name in ("a.parquet", "b.parquet")]
    rows(list(NAMES) * 10, NAMES).to_parquet(files[0])
    rows(["owl", "dog"] * 5, ("owl", "dog")).to_parquet(files[1])
    data = load_text_data(sources.parquet(files))
    assert not wrong_texts(data)
    assert data.schema.names == NAMES


def test_a_split_with_the_names_as_texts_means_the_same():
    named, texts = rows(list(NAMES) * 10, NAMES), [f"owl {i}" for i in range(4)]
    other = Dataset.from_dict({"text": texts, "label": ["owl"] * 4})
    assert not wrong_texts(load_text_data({"train": named, "test": other}))
    assert not wrong_texts(
        load_text_data(
            {
                "train": other.select([0]).to_list() * 3 + [{"text": "cat 1", "label": "cat"}] * 3,
                "test": named.filter(lambda row: row["label"] != 1),
            }
        )
    )


def test_lists_of_classes_are_read_by_their_names():
    some = [["cat"], ["dog", "owl"], ["owl"], ["cat", "dog"]] * 6
    data = load_text_data({"train": rows(some, NAMES), "test": rows(some, ("owl", "cat", "dog"))})
    found = [
        {data.schema.names[i] for i, flag in enumerate(row) if flag} for row in data.splits["test"]["labels"]
    ]
    assert found == [set(labels) for labels in some]


def test_a_name_that_train_lacks_is_told_by_its_name():
    with pytest.raises(DataError, match="a label that train doesn't have, `bat`"):
        load_text_data({"train": rows(list(NAMES) * 10, NAMES), "test": rows(["bat"] * 5, ("bat",))})


def test_numbers_alone_beside_names_are_said_or_refused(tmp_path):
    named, bare = rows(list(NAMES) * 10, NAMES), rows(list(NAMES) * 2, NAMES, Value("int64"))
    data = load_text_data({"train": named, "test": bare})
    assert any("numbers alone" in warning and "cat, dog, owl" in warning for warning in data.warnings)
    files = [tmp_path / "named.parquet", tmp_path / "bare.parquet"]
    named.to_parquet(files[0])
    parquet.write_table(pa.table({"text": bare["text"][:], "label": bare["label"][:]}), files[1])
    with pytest.raises(DataError, match=r"numbers alone; in .*named\.parquet they have names: cat, dog, owl"):
        sources.parquet([str(file) for file in files])


def test_a_file_for_a_finished_run_is_read_by_its_names(tiny_overrides, tmp_path):
    rows(list(NAMES) * 10, NAMES).to_parquet(tmp_path / "train.parquet")
    rows(["owl", "dog"] * 5, ("owl", "dog")).to_parquet(tmp_path / "later.parquet")
    words = [word for word in tiny_overrides if not word.startswith("data")]
    config = compose_config("data=parquet", f"data.source.train={tmp_path / 'train.parquet'}", *words)
    finished = SavedRun.open(run(config).folder)
    found = of_file(finished, tmp_path / "later.parquet")
    assert [NAMES[label] for label in found.truth] == ["owl", "dog"] * 5


def test_a_hub_folder_whose_files_were_encoded_apart_is_refused(tmp_path):
    (tmp_path / "data").mkdir()
    rows(list(NAMES) * 10, NAMES).to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    rows(["owl", "dog"] * 5, ("owl", "dog")).to_parquet(tmp_path / "data" / "test-00000-of-00001.parquet")
    with pytest.raises(DataError, match=r"numbers other names \(owl, dog\)[\s\S]*\(cat, dog, owl\)"):
        sources.hub(str(tmp_path))
