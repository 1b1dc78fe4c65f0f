"""Every way in gives the same rows, and refuses what is wrong with its place."""

import bz2
import csv as python_csv
import gzip
import json
import lzma
import re
import sqlite3
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from datasets import Dataset, DatasetDict, IterableDatasetDict
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import feather, parquet

from finesweep.data import sources
from finesweep.data.convert import as_splits
from finesweep.data.sources.files import kind_of
from finesweep.data.sources.hub_datasets import hub_commit
from finesweep.errors import DataError, FinesweepError, ForeignError

TEXTS = [
    "plain", 'a "quoted" word', "two\nlines", "comma, semicolon; tab\tend", "\U0001f600 emoji", "caf\u00e9",
    "NA", "null", "2024-01-31", "'single'", "trailing space ", "\u4e2d\u6587",
]  # fmt: skip
ROWS = [{"text": text, "label": ("spam", "ham", "eggs")[i % 3]} for i, text in enumerate(TEXTS)]
SPLITS = {"train": ROWS[:8], "validation": ROWS[8:10], "test": ROWS[10:]}


class Items(torch.utils.data.Dataset):
    """Rows as torch knows them."""

    def __init__(self, split="train"):
        self.rows = SPLITS[split]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, row):
        return self.rows[row]


def each_file(folder, ending, write):
    folder.mkdir(exist_ok=True)
    for name, rows in SPLITS.items():
        write(rows, folder / f"{name}{ending}")
    return {name: str(folder / f"{name}{ending}") for name in SPLITS}


def write_delimited(delimiter, encoding="utf-8"):
    def write(rows, file):
        with open(file, "w", newline="", encoding=encoding) as stream:
            writer = python_csv.DictWriter(stream, ["text", "label"], delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)

    return write


def write_lines(rows, file):
    file.write_text("\n".join(json.dumps(row) for row in rows))


def from_csv_folder(folder):
    each_file(folder, ".csv", write_delimited(","))
    return sources.csv(str(folder))


def from_sql(folder):
    file = folder / "rows.db"
    with sqlite3.connect(file) as connection:
        for name, rows in SPLITS.items():
            connection.execute(f"create table {name}_rows (text, label)")
            connection.executemany(f"insert into {name}_rows values (:text, :label)", rows)
    connection.close()
    return sources.sql(f"sqlite:///{file}", "train_rows", "select * from validation_rows", "main.test_rows")


def from_saved(folder):
    DatasetDict({name: Dataset.from_list(rows) for name, rows in SPLITS.items()}).save_to_disk(folder / "x")
    return sources.arrow(str(folder / "x"))


def from_json(write, ending=".json"):
    return lambda folder: sources.json(**each_file(folder, ending, write))


def from_hub(folder):
    each_file(folder / "set", ".jsonl", write_lines)
    return sources.hub(str(folder / "set"))


def from_function(folder):
    (folder / "mine.py").write_text(f"def read(n): return {SPLITS!r} if n == 3 else None")
    return sources.python(f"{folder / 'mine.py'}:read", n=3)


def table_file(write, ending, read=None):
    def make(folder):
        files = each_file(folder, ending, lambda rows, file: write(pa.Table.from_pylist(rows), str(file)))
        return (read or sources.arrow)(**files)

    return make


def write_stream(table, file):
    with pa.OSFile(file, "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def compressed(pack, ending):
    def write(rows, file):
        write_lines(rows, file)
        file.write_bytes(pack(file.read_bytes()))

    return from_json(write, f".jsonl{ending}")


def as_objects(make):
    return lambda folder: {name: make(rows) for name, rows in SPLITS.items()}


KINDS = {
    "csv": lambda folder: sources.csv(**each_file(folder, ".csv", write_delimited(","))),
    "csv with a byte-order mark": lambda f: sources.csv(
        **each_file(f, ".csv", write_delimited(",", "utf-8-sig"))
    ),
    "csv in utf-16": lambda f: sources.csv(
        **each_file(f, ".csv", write_delimited(";", "utf-16")), delimiter=";", encoding="utf-16"
    ),
    "csv folder": from_csv_folder,
    "tsv": lambda folder: sources.tsv(**each_file(folder, ".tsv", write_delimited("\t"))),
    "json lines": from_json(write_lines, ".jsonl"),
    "json list": from_json(lambda rows, file: file.write_text(json.dumps(rows, indent=1))),
    "json data": from_json(lambda rows, file: file.write_text(json.dumps({"version": 1, "data": rows}))),
    "json.gz": compressed(gzip.compress, ".gz"),
    "json.bz2": compressed(bz2.compress, ".bz2"),
    "json.xz": compressed(lzma.compress, ".xz"),
    "json.zst": compressed(lambda data: pa.compress(data, "zstd", asbytes=True), ".zst"),
    "parquet": table_file(parquet.write_table, ".parquet", sources.parquet),
    "feather": table_file(feather.write_feather, ".feather"),
    "arrow stream": table_file(write_stream, ".arrow"),
    "save_to_disk": from_saved,
    "pandas": lambda f: sources.pandas(
        "read_json", **each_file(f, ".jsonl", write_lines), options={"lines": True}
    ),
    "polars read": lambda f: sources.polars("read_ndjson", **each_file(f, ".jsonl", write_lines)),
    "polars scan": lambda f: sources.polars("scan_ndjson", **each_file(f, ".jsonl", write_lines)),
    "sql": from_sql,
    "hub layout": from_hub,
    "python": from_function,
    "torch": lambda folder: sources.torch_dataset(**{name: Items(name) for name in SPLITS}),
    "frames of pandas": as_objects(lambda rows: pd.DataFrame(rows, index=range(5, 5 + len(rows)))),
    "categorical": as_objects(lambda rows: pd.DataFrame(rows).astype({"label": "category"})),
    "frames of polars": as_objects(lambda rows: pl.DataFrame(rows).cast({"label": pl.Categorical})),
    "lazy frames": as_objects(pl.LazyFrame),
    "arrow tables": as_objects(pa.Table.from_pylist),
    "data sets": as_objects(Dataset.from_list),
    "lists": as_objects(list),
}


def test_every_source_is_among_these_kinds():
    """Text folders have a test of their own below, and a commit is no source."""
    above, _, _ = Path(__file__).read_text(encoding="utf-8").partition("def test_every_source_is_among")
    called = set(re.findall(r"\bsources\.(\w+)", above))
    assert set(sources.__all__) - called == {"hub_commit", "text_folders"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_source_gives_the_same_rows_in_the_given_splits(kind, tmp_path):
    splits = as_splits(KINDS[kind](tmp_path))
    assert list(splits) == ["train", "validation", "test"]
    for name, rows in SPLITS.items():
        assert splits[name].select_columns(["text", "label"]).to_list() == rows
        assert {str(feature.dtype) for feature in splits[name].features.values()} == {"string"}


def test_text_folders_give_the_same_rows(tmp_path):
    for name in ("train", "dev"):
        for i, row in enumerate(ROWS):
            (tmp_path / name / row["label"]).mkdir(parents=True, exist_ok=True)
            (tmp_path / name / row["label"] / f"{i:02}.txt").write_text(row["text"], encoding="utf-8")
    splits = as_splits(sources.text_folders(str(tmp_path)))
    assert list(splits) == ["train", "validation"]
    for part in splits.values():
        assert sorted(part.to_list(), key=str) == sorted(ROWS, key=str)


def test_numbers_bools_and_what_only_looks_like_them_in_a_csv(tmp_path):
    (tmp_path / "train.csv").write_text(
        "whole,decimal,flag,code,day,gap\n1,1.5,true,007,2024-01-31,\n-20,2e3,False,12,2024-02-01,3\n"
    )
    read = sources.csv(str(tmp_path))["train"].to_list()
    assert read[0] == {
        "whole": 1, "decimal": 1.5, "flag": True, "code": "007", "day": "2024-01-31", "gap": None
    }  # fmt: skip
    assert read[1] == {
        "whole": -20, "decimal": 2000.0, "flag": False, "code": "12", "day": "2024-02-01", "gap": 3
    }  # fmt: skip
    typed = sources.csv(str(tmp_path), types={"whole": "string", "code": "int"})["train"].to_list()
    assert (typed[1]["whole"], typed[0]["code"]) == ("-20", 7)


def test_a_csv_column_has_one_type_in_all_files_and_splits(tmp_path):
    for name, label in (("train-1", "1"), ("train-2", "2"), ("test", "none")):
        (tmp_path / f"{name}.csv").write_text(f"text,label\nx,{label}\n")
    read = sources.csv(str(tmp_path))
    assert read["train"]["label"][:] == ["1", "2"]
    assert read["test"]["label"][:] == ["none"]


def test_a_text_of_megabytes_is_read(tmp_path):
    (tmp_path / "train.csv").write_text(f'text,label\n"{"word, " * 2_000_000}",1\nshort,0\n')
    assert len(sources.csv(str(tmp_path))["train"]["text"][0]) == 12_000_000


def test_patterns_lists_and_home_name_files(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in "abc":
        (tmp_path / f"{name}.csv").write_text(f"text,label\n{name},x\n")
    assert sources.csv("~/[ab].csv", test="~/c.csv")["train"]["text"][:] == ["a", "b"]
    assert sources.csv([str(tmp_path / "b.csv"), "~/a.csv"])["train"]["text"][:] == ["b", "a"]


def test_torch_scalars_and_missing_values_become_plain_ones():
    rows = [{"text": "a", "label": torch.tensor(1)}, {"text": "b", "label": torch.tensor(0)}]
    assert as_splits(rows)["train"]["label"][:] == [1, 0]
    frame = pd.DataFrame({"text": ["a", float("nan"), pd.NA, None]}, dtype=object)
    assert as_splits(frame)["train"]["text"][:] == ["a", None, None, None]
    assert as_splits([{"text": "a"}, {"label": 1}])["train"].to_list()[0] == {"text": "a", "label": None}


def test_other_names_of_validation_are_known():
    for name in ("val", "valid", "dev"):
        assert list(as_splits({"test": ROWS, name: ROWS, "train": ROWS})) == ["train", "validation", "test"]
    assert list(as_splits({"train": ROWS, "test": None})) == ["train"]


def test_the_hub_s_commit_is_read_off_the_loaded_splits():
    part = Dataset.from_list(ROWS)
    assert hub_commit({"train": part}) is None
    commit = "0123456789abcdef0123456789abcdef01234567"
    part.info.download_checksums = {f"hf://datasets/owner/name@{commit}/train.parquet": {"num_bytes": 1}}
    assert hub_commit({"train": part}) == commit


def test_a_database_s_url_is_in_no_message(tmp_path):
    file = tmp_path / "rows.db"
    sqlite3.connect(file).close()
    bad = [
        lambda: sources.sql("sqlite//user:hunter22@host", "rows"),
        lambda: sources.sql("nodialect://user:hunter22@host/base", "rows"),
        lambda: sources.sql(f"sqlite:///{file}?timeout=hunter22", "select 1"),
        lambda: sources.sql(f"sqlite:///{file}", "rows"),
    ]
    for call in bad:
        with pytest.raises(DataError) as caught:
            call()
        assert "hunter22" not in str(caught.value)
    with pytest.raises(DataError, match="no such SQLite file"):
        sources.sql(f"sqlite:///{tmp_path / 'missing.db'}", "rows")
    assert not (tmp_path / "missing.db").exists()


BAD_FILES = {
    "empty": (sources.csv, "train.csv", b"", "The file is empty"),
    "blank": (sources.csv, "train.csv", b"\n\n", "blank lines only"),
    "header only": (sources.csv, "train.csv", b"text,label\n", "a header line and no rows"),
    "twice": (sources.csv, "train.csv", b"text,text\na,b\n", "the same name: 'text'"),
    "semicolons": (sources.csv, "train.csv", b"text;label\na;b\n", r"a semicolon[\s\S]*delimiter=semicolon"),
    "tabs": (sources.csv, "train.csv", b"text\tlabel\na\tb\n", r"a tab[\s\S]*delimiter=tab"),
    "commas": (sources.tsv, "train.tsv", b"text,label\na,b\n", "a comma"),
    "ragged": (
        sources.csv, "train.csv", b'text,label\n"x\ny",1\na,b,c\nd\n',
        r"train\.csv[\s\S]*2 fields, and line 4 has 3, line 5 has 1",
    ),
    "open quote": (sources.csv, "train.csv", b'text,label\nx,1\n"a,1\nb,2\n', r"opens in line 3"),
    "latin-1 csv": (
        sources.csv, "train.csv", b"text,label\nok,1\ncaf\xe9,1\n",
        r"train\.csv[\s\S]*0xe9 at position 3 of line 3[\s\S]*data\.source\.encoding",
    ),
    "utf-16": (sources.csv, "train.csv", "text,label\na,1\n".encode("utf-16"), "utf-16 by its first bytes"),
    "latin-1 json": (sources.json, "train.jsonl", b'{"text": "caf\xe9"}\n', r"0xe9 at position 13 of line 1"),
    "bad line": (sources.json, "train.jsonl", b'{"a": 1}\n{"a": \n', r"train\.jsonl[\s\S]*Line 2 is no JSON"),
    "bad first line": (sources.json, "train.jsonl", b'{"a": \n{"a": 1}\n', "Line 1 is no JSON"),
    "mixed json": (
        sources.json, "train.jsonl", b'{"a": "x"}\n{"a": null}\n{"a": 3}\n',
        r"Column `a`.*row 0 is 'x' \(text\), row 2 is 3 \(number\)",
    ),
    "numbers": (sources.json, "train.json", b"[1, 2]", "Row 0 is of type int"),
    "no field": (sources.json, "train.json", b'{"rows": [{"a": 1}]}', r"without the key `data`[\s\S]*field"),
    "field of text": (sources.json, "train.json", b'{"rows": [{"a": 1}], "data": "x"}', "not str"),
    "no list": (sources.json, "train.json", b"[]", "It has no rows"),
    "broken list": (sources.json, "train.json", b'[{"a": 1}', "It is no JSON"),
    "not gz": (sources.csv, "train.csv.gz", b"text,label\na,b\n", "can't be decompressed"),
    "cut gz": (sources.csv, "train.csv.gz", gzip.compress(b"text,label\na,b")[:-9], "can't be decompressed"),
    "cut xz": (sources.csv, "train.csv.xz", lzma.compress(b"text,label\n")[:-9], "can't be decompressed"),
    "empty gz": (sources.csv, "train.csv.gz", gzip.compress(b""), "The file is empty"),
    "not parquet": (sources.parquet, "train.parquet", b"PAR1 no", "can't be read as Parquet"),
    "not arrow": (sources.arrow, "train.arrow", b"ARROW1 no", "can't be read as Arrow"),
    "not a stream": (sources.arrow, "train.arrow", b"nothing", "can't be read as Arrow"),
    "other name": (sources.csv, "rows.csv", b"text,label\na,b\n", r"no file train[\s\S]*Valid: rows\.csv"),
    "other kind": (sources.parquet, "train.csv", b"text,label\na,b\n", r"no file train\.\*"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_refused_with_its_place(case, tmp_path):
    read, name, content, message = BAD_FILES[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(str(tmp_path))


BAD_CALLS = {
    "no file": (lambda f: sources.csv(f"{f}/tran.csv"), r"No such file[\s\S]*Did you mean `train\.csv`"),
    "no match": (lambda f: sources.csv(f"{f}/*.tsv"), "No file matches this pattern"),
    "in two splits": (lambda f: sources.csv(f"{f}/*.csv", test=f"{f}/test.csv"), "is in train already"),
    "folder and file": (lambda f: sources.csv(f"{f}", test=f"{f}/test.csv"), "names all splits"),
    "folder as test": (lambda f: sources.csv(f"{f}/train.csv", test=f"{f}"), "This is a folder"),
    "other columns": (lambda f: sources.csv(f"{f}/*.csv"), r"columns differ[\s\S]*Valid: text, topic"),
    "delimiter": (lambda f: sources.csv(f"{f}/train.csv", delimiter="::"), "one ASCII character"),
    "encoding": (lambda f: sources.csv(f"{f}/train.csv", encoding="utf-9"), "Python knows no such encoding"),
    "type": (lambda f: sources.csv(f"{f}/train.csv", types={"label": "date"}), "Valid: string, int"),
    "type's column": (lambda f: sources.csv(f"{f}/train.csv", types={"lable": "int"}), "mean `label`"),
    "type's value": (lambda f: sources.csv(f"{f}/train.csv", types={"label": "int"}), "another type.*'spam'"),
    "reader": (lambda f: sources.pandas("read_exel", f"{f}/train.csv"), "Did you mean `read_excel`"),
    "pickle": (lambda f: sources.pandas("read_pickle", f"{f}/train.csv"), "runs code"),
    "option": (lambda f: sources.pandas("read_csv", f"{f}/train.csv", options={"x": 1}), "can't read.*'x'"),
    "folder of frames": (lambda f: sources.pandas("read_csv", str(f)), r"takes files[\s\S]*/\*'"),
    "no frame": (
        lambda f: sources.pandas("read_csv", f"{f}/train.csv", options={"iterator": True}), "TextFileReader"
    ),
    "polars option": (lambda f: sources.polars("read_csv", f"{f}/train.csv", options={"x": 1}), "options"),
    "polars reader": (lambda f: sources.polars("read_parquet", f"{f}/train.csv"), "can't read it"),
    "lazy error": (lambda f: sources.polars("scan_parquet", f"{f}/train.csv"), r"train\.csv"),
    "streaming": (lambda f: sources.hub("owner/name", streaming=True), "no length and no second pass"),
    "not saved": (lambda f: sources.arrow(str(f)), r"no file train\.\*"),
    "no function": (lambda f: sources.python("json.lods"), "Did you mean `loads`"),
    "no function in file": (lambda f: sources.python(f"{f}/mine.py:raed"), "Did you mean `read`"),
    "nothing returned": (lambda f: sources.python(f"{f}/mine.py:read"), "not NoneType"),
    "no table": (lambda f: sources.sql(f"sqlite:///{f}/rows.db", "row"), "Did you mean `rows`"),
    "bad query": (lambda f: sources.sql(f"sqlite:///{f}/rows.db", "select x from rows"), "no such column: x"),
    "no result": (lambda f: sources.sql(f"sqlite:///{f}/rows.db", "select * from rows"), "gives no rows"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # pandas leaves its iterator's file open
@pytest.mark.parametrize("case", BAD_CALLS)
def test_a_bad_argument_is_refused_with_its_key(case, tmp_path):
    call, message = BAD_CALLS[case]
    (tmp_path / "train.csv").write_text("text,label\na,spam\n")
    (tmp_path / "test.csv").write_text("text,topic\na,spam\n")
    (tmp_path / "mine.py").write_text("def read(): return None")
    with sqlite3.connect(tmp_path / "rows.db") as connection:
        connection.execute("create table rows (text, label)")
    connection.close()
    with pytest.raises(FinesweepError, match=message):
        call(tmp_path)


class Tuples(Items):
    """Items that are no dicts."""

    def __getitem__(self, row):
        return "text", 1


class Stream(torch.utils.data.IterableDataset):
    """Rows without a length."""

    def __iter__(self):
        return iter(ROWS)


BAD_OBJECTS = {
    "nothing": (None, "A source returns"),
    "a text": ("rows.csv", "not str"),
    "columns": ({"text": ["a"], "label": [1]}, "not a dict of lists"),
    "nested columns": ({"train": {"text": ["a"]}}, "not dict"),
    "a generator": ((row for row in ROWS), "not generator"),
    "an array": (np.zeros(3), "not ndarray"),
    "a stream": (Dataset.from_list(ROWS).to_iterable_dataset(), "It is a stream"),
    "streams": (
        IterableDatasetDict({"train": Dataset.from_list(ROWS).to_iterable_dataset()}), "It is a stream"
    ),
    "a torch stream": (Stream(), "It is a stream"),
    "tuples": (Tuples(), "Row 0 is of type tuple"),
    "no train": ({"test": ROWS, "val": ROWS}, r"no train split[\s\S]*Valid: test, val"),
    "an unknown split": ({"train": ROWS, "tset": ROWS}, r"tset[\s\S]*Did you mean `test`"),
    "two validations": ({"train": ROWS, "val": ROWS, "dev": ROWS}, "`val` and `dev` are two names"),
    "no rows": ({"train": ROWS, "test": []}, "test split has no"),
    "an empty frame": (pd.DataFrame({"text": []}), "train split has no rows"),
    "no columns": ([{}], "train split has no columns"),
    "mixed": ([{"a": "x"}, {"a": 1}], r"row 0 is 'x' \(text\), row 1 is 1 \(number\)"),
    "mixed bools": ([{"a": 1.5}, {"a": True}], r"row 1 is True \(bool\)"),
    "mixed bytes": ([{"a": "x"}, {"a": b"x"}], r"row 1 is b'x' \(bytes\)"),
    "mixed in pandas": (pd.DataFrame({"a": ["x", 1]}, dtype=object), "Column `a` has values of mixed types"),
    "mixed within": ([{"a": [1]}, {"a": ["x"]}], "Column `a` can't be read"),
    "a lone surrogate": ([{"a": "x"}, {"a": "\ud800"}], "Row 1 of column `a`.*surrogates"),
    "a huge number": ([{"a": 1}, {"a": 2**70}], "Row 1 of column `a`.*too large"),
    "an object": ([{"a": object()}], "Row 0 of column `a`"),
    "a number as name": ([{1: "x"}], "A column is called 1"),
    "the same names": (pd.DataFrame([[1, 2]], columns=["a", "a"]), "the same name: 'a'"),
    "the same names in Arrow": (pa.table([[1], [2]], names=["a", "a"]), "the same name: 'a'"),
    "complex numbers": (pd.DataFrame({"a": [1j]}), "pandas type complex128"),
    "periods": (pd.DataFrame({"a": pd.period_range("2020", periods=2)}), "a data set can't hold"),
    "a map": (pa.table({"a": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64()))}), "can't hold"),
    "huge polars": (pl.DataFrame({"a": [1]}, schema={"a": pl.Int128}), "polars type Int128"),
    "a lazy mistake": (pl.LazyFrame({"a": [1]}).select("b"), "can't be collected"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_OBJECTS)
def test_a_bad_object_is_refused_with_its_reason(case):
    source, message = BAD_OBJECTS[case]
    with pytest.raises(DataError, match=message):
        as_splits(source)


def test_a_source_that_fails_at_its_import_fails_at_each_try(tmp_path):
    file = tmp_path / "half.py"
    file.write_text("def rows():\n    return [{'text': 'a', 'label': 'b'}]\nimport nothing_of_this_name\n")
    for _ in range(2):
        with pytest.raises(ForeignError, match=r"ModuleNotFoundError: .*nothing_of_this_name"):
            sources.python(f"{file}:rows")
    file.write_text("def rows():\n    return [{'text': 'a', 'label': 'b'}]\n")
    assert sources.python(f"{file}:rows")["train"]["text"][:] == ["a"]


def test_all_splits_faults_are_told_at_once():
    with pytest.raises(DataError) as caught:
        as_splits({"train": [{"a": "x"}, {"a": 1}], "validation": [], "test": 3})
    assert len(caught.value.faults) == 3


def test_sources_import_no_library_before_they_are_called():
    import subprocess

    code = (
        "import sys, finesweep.data.sources; "
        "print([m for m in ('torch', 'pandas', 'polars', 'datasets', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=3),
    st.lists(st.one_of(st.integers(), st.text(max_size=2)), max_size=3), st.dates(), st.datetimes(),
    st.decimals(), st.complex_numbers(), st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    st.just(pd.NA), st.just(pd.NaT), st.sets(st.integers(), max_size=1), st.timedeltas(),
)  # fmt: skip
names = st.one_of(st.text(max_size=3), st.sampled_from(["text", "label"]), st.integers(0, 3))
lists = st.lists(st.dictionaries(names, values, max_size=3), max_size=4)
columns = st.integers(0, 4).flatmap(
    lambda n: st.dictionaries(names, st.lists(values, min_size=n, max_size=n), max_size=3)
)
frames = columns.map(lambda found: pd.DataFrame(found, dtype=object))
guessed = columns.map(lambda found: pd.DataFrame(found, dtype=object).infer_objects())
objects = columns.map(
    lambda found: pl.DataFrame([pl.Series(str(n), v, dtype=pl.Object) for n, v in enumerate(found.values())])
)
parts = st.one_of(lists, frames, guessed, objects, values, st.lists(values, max_size=3))
split_names = st.one_of(st.sampled_from(["train", "test", "dev", "val"]), names)
splits = st.dictionaries(split_names, parts, max_size=3)


@given(source=st.one_of(parts, splits))
@settings(max_examples=400, deadline=None)
def test_whatever_comes_is_splits_or_a_data_error(source):
    try:
        read = as_splits(source)
    except DataError:
        return
    assert "train" in read
    assert all(isinstance(part, Dataset) and len(part) and part.to_list() for part in read.values())


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.csv", ".csv"), ("a.v2.CSV.GZ", ".csv"), ("a.gz", ".gz"), ("a", ""), ("a.jsonl.xz", ".jsonl")],
)
def test_a_file_s_kind_is_its_ending_before_a_compression_s(name: str, kind: str):
    assert kind_of(Path(name)) == kind
