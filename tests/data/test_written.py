"""Labels that are not what they look like: written numbers and lists, names that differ invisibly."""

import unicodedata

import pytest

from finesweep.data import load_text_data, sources
from finesweep.errors import DataError


def rows(labels) -> list[dict]:
    return [{"text": f"text number {i}", "label": label} for i, label in enumerate(labels)]


@pytest.mark.parametrize(
    "written",
    [
        ["1,5", "2,25", "3"],
        ["12%", "7 %"],
        ["1,234.5", "2.5"],
        ["1.234,56", "1,2"],
        ["$3.50", "$4"],
        ["1,5", "1.5"],
        ["\uff11\uff12.5", "\uff17"],
        ["1_000", "2_500"],
        ["(12.50)", "3.10"],
        ["1\u202f000", "2\u00a0500,5"],
    ],
)
def test_numbers_as_people_write_them_are_asked_about(written):
    with pytest.raises(DataError, match=r"look like numbers: `[\s\S]*data\.task=single-label"):
        load_text_data(rows(written * 20))
    assert load_text_data(rows(written * 20), task="single-label").schema.names == tuple(sorted(set(written)))
    with pytest.raises(DataError, match="look like numbers"):
        load_text_data(rows(written * 20), task="regression")


@pytest.mark.parametrize(
    "names", [["007", "012"], ["+1", "-1"], ["1.2.3", "1.2.4"], ["10-20", "20-30"], ["a", "1,5"]]
)
def test_names_that_only_look_a_little_like_numbers_are_names(names):
    assert load_text_data(rows(names * 20)).schema.names == tuple(sorted(names))


def test_a_csv_has_a_key_for_decimal_commas(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("text;label;code\n" + "".join(f"text {i};1.00{i % 10},5;1.2.{i}\n" for i in range(40)))
    read = sources.csv(str(path), delimiter="semicolon", decimal="comma")["train"]
    assert read["label"][:3] == [1000.5, 1001.5, 1002.5]
    assert read["code"][:2] == ["1.2.0", "1.2.1"]
    with pytest.raises(DataError, match="It is point or comma"):
        sources.csv(str(path), decimal=";")


@pytest.mark.parametrize("written", [("['a', 'b']", "['a']"), ('["a", "b"]', '["a"]')])
def test_lists_written_as_texts_are_lists(written):
    data = load_text_data(rows(written * 20))
    assert data.schema.problem_type == "multi_label_classification"
    assert data.schema.names == ("a", "b")
    assert "labels are lists, written as texts" in data.notes


def test_words_and_tags_written_as_texts_are_lists():
    tagged = [{"text": f"['EU', 'rejects', '{i}']", "label": "['B-ORG', 'O', 'O']"} for i in range(20)]
    data = load_text_data(tagged)
    assert data.schema.problem_type == "token_classification"
    assert data.splits["train"][0]["words"][:2] == ["EU", "rejects"]


def test_lists_that_cannot_be_read_are_refused_unless_they_are_names():
    with pytest.raises(DataError, match=r"can't be read as one: \['a' 'b'\][\s\S]*Write them as JSON"):
        load_text_data(rows(["['a' 'b']", "['a']"] * 20))
    assert len(load_text_data(rows(["['a' 'b']", "['a']"] * 20), task="single-label").schema.names) == 2


@pytest.mark.parametrize(
    ("names", "delimiter"),
    [(["a", "a;b", "b;c", "c"], "semicolon"), (["x | y", "x", "y"], "bar"), (["p,q", "q", "p"], "comma")],
)
def test_several_labels_in_one_text_are_asked_about(names, delimiter):
    (warning,) = load_text_data(rows(names * 20)).warnings
    assert f"data.label_delimiter={delimiter} reads them as several" in warning
    data = load_text_data(rows(names * 20), label_delimiter=delimiter)
    assert (data.schema.problem_type, data.warnings) == ("multi_label_classification", ())


def test_a_name_with_a_comma_in_it_is_one():
    assert not load_text_data(rows(["Leeds, UK", "York, UK", "Lyon, FR"] * 20)).warnings


@pytest.mark.parametrize("other", ["Garden", "garden ", "gar\u200bden", "\u00a0garden", "garden\ufeff"])
def test_labels_that_differ_in_what_cannot_be_seen_are_said_and_quoted(other):
    (warning,) = load_text_data(rows(["garden", "kitchen", other] * 20)).warnings
    assert warning.startswith("labels differ in case, white space or invisible signs alone")
    shown = warning.split('"')[1::2]
    assert len(set(shown)) == 2
    assert all(name.isprintable() for name in shown)


def test_composed_and_decomposed_accents_are_told_apart_in_the_warning():
    names = ["caf\u00e9", unicodedata.normalize("NFD", "caf\u00e9"), "tea"]
    (warning,) = load_text_data(rows(names * 20)).warnings
    assert '"cafe\\u0301"' in warning


def test_given_names_are_quoted_where_they_hide_something():
    with pytest.raises(DataError, match=r'train has "garden " beside them'):
        load_text_data(rows(["garden", "garden ", "kitchen"] * 20), label_names=["garden", "kitchen"])


def test_a_given_split_without_a_label_is_said():
    splits = {"train": rows(["neg", "pos", "unsup"] * 20), "test": rows(["neg", "pos"] * 5)}
    assert "test has no row of 1 of 3 labels: `unsup`" in load_text_data(splits).warnings


def test_folders_that_are_no_labels_are_left_out(tmp_path):
    for name in ("pos", "neg", "unsup", ".ipynb_checkpoints", "__MACOSX"):
        (tmp_path / name).mkdir()
        for i in range(20):
            (tmp_path / name / f"{i}.txt").write_text(f"{name} {i}")
        (tmp_path / name / "._0.txt").write_text("left by a file manager")
    assert set(sources.text_folders(str(tmp_path))["label"]) == {"neg", "pos", "unsup"}
    assert len(sources.text_folders(str(tmp_path), ignore=["unsup"])) == 40
