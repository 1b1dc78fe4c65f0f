"""Every way in with labels of every problem type that it can hold: the same texts, labels and task."""

import json
import sqlite3

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from datasets import Dataset
from pyarrow import feather, parquet

from finesweep.data import load_text_data, sources
from finesweep.data.labels import MULTI, REGRESSION, SINGLE, TOKENS

COLOURS = ("red", "green", "blue")
SIZES = {"train": range(12), "validation": range(12, 15), "test": range(15, 18)}
FLAT = {"csv", "tsv", "pandas csv", "polars csv", "sql"}


def colours_of(i):
    """Return one or two colours of row i."""
    return [COLOURS[i % 3], *([COLOURS[(i + 1) % 3]] if i % 2 else [])]


def flags_of(i):
    return [int(colour in colours_of(i)) for colour in COLOURS]


# Problem: its task, the arguments it needs, and the columns of row i beside its text.
PROBLEMS = {
    "texts": (SINGLE, {}, lambda i: {"label": COLOURS[i % 3]}),
    "whole numbers": (SINGLE, {}, lambda i: {"label": (7, -3, 40)[i % 3]}),
    "bools": (SINGLE, {}, lambda i: {"label": i % 3 == 0}),
    "pairs": (
        SINGLE,
        {"text_column": ["text", "two"]},
        lambda i: {"two": f"other {i}", "label": COLOURS[i % 3]},
    ),
    "delimited": (MULTI, {"label_delimiter": "|"}, lambda i: {"label": "|".join(colours_of(i))}),
    "flag columns": (
        MULTI,
        {"label_column": [*COLOURS]},
        lambda i: dict(zip(COLOURS, flags_of(i), strict=True)),
    ),
    "numbers": (REGRESSION, {}, lambda i: {"label": i / 7 + 0.01}),
    "lists": (MULTI, {}, lambda i: {"label": colours_of(i)}),
    "flags": (MULTI, {}, lambda i: {"label": flags_of(i)}),
    "tags": (TOKENS, {}, lambda i: {"text": ["the", COLOURS[i % 3], str(i)], "label": ["O", "B-C", "O"]}),
}
NESTED = {"lists", "flags", "tags"}


class Items(torch.utils.data.Dataset):
    """Rows as torch knows them; numbers and flags are tensors if wanted."""

    def __init__(self, rows, *, tensors=False):
        self.rows, self.tensors = rows, tensors

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, row):
        def value(content):
            flat = content[0] if isinstance(content, list) else content
            return torch.tensor(content) if self.tensors and not isinstance(flat, str) else content

        return {key: value(content) for key, content in self.rows[row].items()}


def files(write, ending, read, **arguments):
    def make(folder, splits):
        names = {name: str(folder / f"{name}{ending}") for name in splits}
        for name, rows in splits.items():
            write(rows, names[name])
        return read(**names, **arguments)

    return make


def write_lines(rows, file):
    with open(file, "w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)


def write_csv(rows, file):
    pd.DataFrame(rows).to_csv(file, index=False, sep="\t" if file.endswith("tsv") else ",")


def as_table(write):
    return lambda rows, file: write(pa.Table.from_pylist(rows), file)


def from_sql(folder, splits):
    with sqlite3.connect(folder / "rows.db") as connection:
        for name, rows in splits.items():
            pd.DataFrame(rows).to_sql(f"{name}_rows", connection, index=False)
    connection.close()
    return sources.sql(f"sqlite:///{folder / 'rows.db'}", *(f"{name}_rows" for name in splits))


def from_function(folder, splits):
    (folder / "mine.py").write_text(f"def read(): return {splits!r}")
    return sources.python(f"{folder / 'mine.py'}:read")


def from_hub_layout(folder, splits):
    for name, rows in splits.items():
        write_lines(rows, folder / f"{name}.jsonl")
    return sources.hub(str(folder))


def each(make):
    return lambda folder, splits: {name: make(rows) for name, rows in splits.items()}


KINDS = {
    "csv": files(write_csv, ".csv", sources.csv),
    "tsv": files(write_csv, ".tsv", sources.tsv),
    "pandas csv": files(write_csv, ".csv", lambda **names: sources.pandas("read_csv", **names)),
    "polars csv": files(write_csv, ".csv", lambda **names: sources.polars("scan_csv", **names)),
    "sql": from_sql,
    "json": files(write_lines, ".jsonl", sources.json),
    "parquet": files(as_table(parquet.write_table), ".parquet", sources.parquet),
    "arrow": files(as_table(feather.write_feather), ".feather", sources.arrow),
    "pandas": each(pd.DataFrame),
    "polars": each(pl.DataFrame),
    "lazy": each(pl.LazyFrame),
    "tables": each(pa.Table.from_pylist),
    "data sets": each(Dataset.from_list),
    "dicts": each(list),
    "arrays": each(
        lambda rows: [
            {**row, **{k: np.array(v) for k, v in row.items() if isinstance(v, list)}} for row in rows
        ]
    ),
    "torch": lambda _, splits: sources.torch_dataset(**{name: Items(rows) for name, rows in splits.items()}),
    "tensors": each(lambda rows: Items(rows, tensors=True)),
    "python": from_function,
    "hub layout": from_hub_layout,
}
CASES = [
    (kind, problem) for kind in KINDS for problem in PROBLEMS if not (kind in FLAT and problem in NESTED)
]


def text_of(i):
    return f"the {COLOURS[i % 3]} thing {i}"


def label_of(row, schema):
    """Return what a read row's label means, in the words of the source."""
    label = row["labels"]
    if schema.problem_type == MULTI:
        return {schema.names[i] for i, flag in enumerate(label) if flag}
    if schema.problem_type == TOKENS:
        return [schema.names[i] for i in label]
    return label * schema.scale + schema.mean if schema.problem_type == REGRESSION else schema.names[label]


def meant(i, kind, problem):
    """Return what row i's label should mean."""
    task, _, columns = PROBLEMS[problem]
    label = columns(i).get("label")
    if task == MULTI:
        numbered = {str(COLOURS.index(colour)) for colour in colours_of(i)}  # a list of flags has no names
        return numbered if problem == "flags" else set(colours_of(i))
    if task == SINGLE:
        return str(int(label) if kind == "sql" and problem == "bools" else label)  # SQLite has no bools
    return pytest.approx(label, abs=1e-5) if task == REGRESSION else label


@pytest.mark.parametrize(("kind", "problem"), CASES)
@pytest.mark.often("csv-*", "json-*", "jsonl-*", "parquet-*", "pandas*", "polars*", "hub*", "sql*")
def test_every_source_gives_every_kind_of_label_it_can_hold(kind, problem, tmp_path):
    task, arguments, columns = PROBLEMS[problem]
    splits = {name: [{"text": text_of(i), **columns(i)} for i in numbers] for name, numbers in SIZES.items()}
    data = load_text_data(KINDS[kind](tmp_path, splits), **arguments)
    assert data.schema.problem_type == task
    for name, numbers in SIZES.items():
        read = data.splits[name].to_list()
        texts = [row["words"] if task == TOKENS else row["text"] for row in read]
        assert texts == [row["text"] for row in splits[name]]
        assert [row.get("text_pair") for row in read] == [row.get("two") for row in splits[name]]
        assert [label_of(row, data.schema) for row in read] == [meant(i, kind, problem) for i in numbers]
