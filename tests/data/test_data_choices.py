"""The files of conf/data: each command of docs/data.md, and the hub's data sets in the layout of the hub."""

import gzip
import itertools
import json
import shlex
import sqlite3
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from datasets import ClassLabel, Dataset, Features, Sequence, Value
from pyarrow import feather

from composing import compose_config
from finesweep.config.build import build
from finesweep.config.check import check
from finesweep.data.labels import MULTI, REGRESSION, SINGLE

TEXT, TOPICS = Value("string"), ("World", "Sports", "Business", "Sci/Tech")
EMOTIONS = ("sadness", "joy", "love", "anger", "fear", "surprise")
ALL = ("train", "validation", "test")
# Choice -> its configuration on the hub, the columns as its card has them, its splits, and the task.
CHOICES = {
    "glue-sst2": (
        "sst2",
        {"sentence": TEXT, "label": ClassLabel(names=["negative", "positive"])},
        ALL,
        SINGLE,
    ),
    "glue-mrpc": (
        "mrpc",
        {"sentence1": TEXT, "sentence2": TEXT, "label": ClassLabel(names=["not_equivalent", "equivalent"])},
        ALL,
        SINGLE,
    ),
    "glue-stsb": (
        "stsb",
        {"sentence1": TEXT, "sentence2": TEXT, "label": Value("float32")},
        ALL,
        REGRESSION,
    ),
    "imdb": (
        "plain_text",
        {"text": TEXT, "label": ClassLabel(names=["neg", "pos"])},
        ("train", "test", "unsupervised"),
        SINGLE,
    ),
    "ag-news": (
        "default",
        {"text": TEXT, "label": ClassLabel(names=list(TOPICS))},
        ("train", "test"),
        SINGLE,
    ),
    "emotion": ("split", {"text": TEXT, "label": ClassLabel(names=list(EMOTIONS))}, ALL, SINGLE),
    "go-emotions": (
        "simplified",
        {"text": TEXT, "labels": Sequence(ClassLabel(names=[*EMOTIONS, "neutral"])), "id": TEXT},
        ALL,
        MULTI,
    ),
}
# GLUE hides the labels of its test split.
HIDDEN = {"glue-sst2", "glue-stsb"}
NUM_ROWS = 120
serial = itertools.count()


def value_of(feature, row):
    """Return a value that a column of this type may have."""
    if isinstance(feature, ClassLabel):
        return row % feature.num_classes
    if isinstance(feature, Sequence):
        return sorted({row % 7, row * 3 % 7})
    return row % 11 / 2 if feature.dtype == "float32" else f"words in row {next(serial)}"


def write_as_on_the_hub(folder, config, columns, splits, is_hidden):
    """Write Parquet files and the card that says which of them make up which split."""
    (folder / config).mkdir(parents=True)
    places = ""
    for split in splits:
        rows = {name: [value_of(kind, row) for row in range(NUM_ROWS)] for name, kind in columns.items()}
        if is_hidden and split == "test":
            rows["label"] = [-1] * NUM_ROWS
        path = f"{config}/{split}-00000-of-00001.parquet"
        Dataset.from_dict(rows, features=Features(columns)).to_parquet(folder / path)
        places += f"  - split: {split}\n    path: {path}\n"
    head = f"configs:\n- config_name: {config}\n  default: true\n  data_files:\n{places}"
    (folder / "README.md").write_text(f"---\n{head}---\n")


@pytest.mark.parametrize("choice", CHOICES)
def test_a_choice_reads_its_data_set(choice, tmp_path):
    config, columns, splits, problem_type = CHOICES[choice]
    write_as_on_the_hub(tmp_path / "set", config, columns, splits, choice in HIDDEN)
    composed = compose_config(f"data={choice}", f"data.source.path={tmp_path / 'set'}")
    data = build(check(composed)["data"])
    assert data.schema.problem_type == problem_type
    label = columns.get("label", columns.get("labels"))
    names = getattr(getattr(label, "feature", label), "names", None)
    if names:
        assert data.schema.names == tuple(names)
    assert set(data.splits) == set(ALL)
    assert len(data.splits["test"]) == NUM_ROWS  # as it was given
    cut = "validation" not in splits or choice in HIDDEN
    assert len(data.splits["train"]) + cut * len(data.splits["validation"]) == NUM_ROWS
    assert ("text_pair" in data.splits["train"].column_names) == (choice in ("glue-mrpc", "glue-stsb"))


PAGE = Path(__file__).parents[2] / "docs" / "data.md"
SOURCES = PAGE.read_text().partition("## Sources")[2].partition("\n## ")[0]
COMMANDS = [line.strip() for line in SOURCES.splitlines() if line.startswith("    python train.py")]
# A commit of the Hub, which a folder doesn't have.
ONLINE = [command for command in COMMANDS if "COMMIT" in command]

MODULE = """
from torch.utils.data import Dataset

def read_tickets(year=2023):
    return [{"text": f"text {i} of {year}", "label": "ab"[i % 2]} for i in range(60)]

class Tickets(Dataset):
    def __init__(self, year=2023):
        self.rows = read_tickets(year)
    def __len__(self):
        return len(self.rows)
    def __getitem__(self, i):
        return self.rows[i]
"""


def write_everything(folder, command):
    """Write each file that the page's commands name; where two mean another file, that of this command."""
    rows = [{"text": f"text {i}", "label": "ab"[i % 2], "topic": "xyz"[i % 3], "zip": i} for i in range(60)]
    test = [{**row, "text": f"test {i}"} for i, row in enumerate(rows)]
    frame, table = pd.DataFrame(rows), pa.Table.from_pylist(rows)
    for place in ("rows", "OWNER/NAME"):
        (folder / place).mkdir(parents=True)
    cp1252 = {"sep": ";", "encoding": "cp1252"} if "cp1252" in command else {}
    frame.to_csv(folder / "rows.csv", index=False, **cp1252)
    for name, content in {
        "rows": rows,
        "rows/train": rows,
        "rows/dev": test[:9],
        "rows/test": test[9:],
    }.items():
        pd.DataFrame(content).to_csv(folder / f"{name}.tsv", index=False, sep="\t")
        pd.DataFrame(content).to_parquet(folder / f"{name}.parquet")
    frame.to_parquet(folder / "rows/part-1.parquet")
    pd.DataFrame(test).to_parquet(folder / "test.parquet")
    lines = "\n".join(map(json.dumps, rows))
    for name in ("rows.jsonl", "rows.ndjson", "OWNER/NAME/train.jsonl"):
        (folder / name).write_text(lines)
    for name in ("validation", "test"):
        (folder / f"OWNER/NAME/{name}.jsonl").write_text("\n".join(map(json.dumps, test)))
    (folder / "rows.json.gz").write_bytes(gzip.compress(lines.encode()))
    (folder / "rows.json").write_text(json.dumps({"examples": rows}))
    (folder / "more.json").write_text(json.dumps(test))
    Dataset.from_list(rows).save_to_disk(folder / "saved")
    feather.write_feather(table, folder / "rows.feather")
    for name, content in {"rows": rows, "test": test}.items():
        with pa.OSFile(str(folder / f"{name}.arrow"), "wb") as file:
            part = pa.Table.from_pylist(content)
            with pa.ipc.new_file(file, part.schema) as writer:
                writer.write_table(part)
    frame.to_excel(folder / "rows.xlsx", index=False)
    frame.to_stata(folder / "rows.dta", write_index=False)
    frame.to_xml(folder / "rows.xml", index=False, parser="etree")
    (folder / "rows.txt").write_text(f"made\nby hand\n{frame.to_string(index=False)}\n")
    pl.from_dicts(rows).write_avro(folder / "rows.avro")
    with sqlite3.connect(folder / "rows.db") as database:
        for name in ("tickets", "train_rows"):
            frame.assign(id=range(60)).to_sql(name, database, index=False)
        pd.DataFrame(test).to_sql("test_rows", database, index=False)
    for row in rows:
        for split in ALL if "{train" in command else ("",):
            file = folder / "texts" / split / row["label"] / f"{row['zip']}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{row['text']} {split}")
    (folder / "tickets.py").write_text(MODULE)
    (folder / "my_package.py").write_text(MODULE)


@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")
@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in ONLINE])
@pytest.mark.often(every=3)
def test_each_command_of_the_page_reads_its_files(command, tmp_path, monkeypatch):
    write_everything(tmp_path, command)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("DATABASE_URL", "sqlite:///rows.db")
    words = shlex.split(command, comments=True)[2:]
    data = build(check(compose_config(*words))["data"])
    assert set(data.splits) == set(ALL)
    assert sum(map(len, data.splits.values())) in (60, 119, 120, 180)
    assert data.schema.names in (("a", "b"), ("x", "y", "z"))
