"""The data sets of the hub that have a file in conf/data, read from folders in the layout they have there."""

import itertools

import pytest
from datasets import ClassLabel, Dataset, Features, Sequence, Value

from composing import compose_config
from finesweep.config import build, check
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
