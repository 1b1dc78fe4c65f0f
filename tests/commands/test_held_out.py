"""`finesweep evaluate --label-errors` on real sweeps over folds."""

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from finesweep.commands.cli import app
from finesweep.commands.evaluate.held_out import read_held_out
from finesweep.commands.evaluate.label_errors import (
    Suspects,
    as_csv,
    label_errors,
    lines_of,
    render,
    suspects_of,
)
from finesweep.errors import FinesweepError
from folders import NASTY
from tiny import task, tiny_sweep

WITH_HTML = 20
FLIPPED = {4: "animals", 20: "numbers"}  # a colour's row and another's


@pytest.fixture(scope="module")
def words(tmp_path_factory, tiny_model, tiny_csv_text):
    """Return the overrides of a run on the tiny texts, of which two have another label."""
    lines = tiny_csv_text.splitlines()
    for row, label in FLIPPED.items():
        lines[row + 1] = f"{lines[row + 1].rpartition(',')[0]},{label}"
    lines[WITH_HTML + 1] = lines[WITH_HTML + 1].replace("number", f"number {NASTY}", 1)
    file = tmp_path_factory.mktemp("data") / "tiny.csv"
    file.write_text("\n".join(lines))
    return [
        "data=csv", f"data.source.train={file}", f"model.name={tiny_model}", "tokenizer.max_length=16",
        "trainer.per_device_train_batch_size=8", "trainer.max_steps=6", "trainer.eval_steps=3",
        "trainer.learning_rate=0.01", "tracker=none", "threads=1", "baseline=none", "data.split.folds=3",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def sweep(words, tmp_path_factory):
    points = [[f"data.split.fold={fold}"] for fold in range(3)]
    return tiny_sweep(tmp_path_factory.mktemp("sweep") / "study", words, points)


def test_the_text_the_page_and_the_csv_list_the_same_rows(sweep):
    said = CliRunner().invoke(app, ["evaluate", str(sweep), "--label-errors"])
    assert said.exit_code == 0, said.output
    with (sweep / "label-errors.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    margins = [float(row["margin"]) for row in rows]
    assert margins == sorted(margins)
    assert f"{len(rows)} of {60 - len(rows_of_test(sweep))} rows" in said.stdout
    page = (sweep / "label-errors.html").read_text()
    assert len(re.findall(r"row \d+ <span", page)) == len(rows)
    assert all(f"row {row['id']} " in page for row in rows)


def test_flipped_labels_are_at_the_top_where_models_are_sure(sweep):
    held = read_held_out(sweep)
    names = held.schema.names
    words = {" three": "numbers", " horse": "animals", " blue": "colours"}
    known = [next(name for word, name in words.items() if word in text) for text in held.texts]
    sure = np.full(held.probabilities.shape, 0.05)
    sure[np.arange(len(known)), [names.index(name) for name in known]] = 0.9
    suspects = suspects_of("here", replace(held, probabilities=sure))
    seen = {number: label for number, label in FLIPPED.items() if number not in rows_of_test(sweep)}
    assert seen
    assert {one.id: one.label for one in suspects.found} == seen
    assert {one.suggested for one in suspects.found} <= {"numbers", "colours"}
    page = render(suspects)
    assert NASTY not in page
    assert "&lt;script&gt;" in page or WITH_HTML not in seen
    assert as_csv(suspects).count("\n") == 1 + len(seen)


def rows_of_test(sweep):
    """Return the rows of the test split, which no fold has."""
    table = parquet.read_table(sweep / "trials" / "0" / "splits.parquet").to_pylist()
    return {row["id"] for row in table if row["split"] == "test"}


def test_every_row_but_the_test_split_s_is_looked_at_once(sweep, capsys):
    found = label_errors(sweep, as_json=True)
    assert found.rows == 60 - len(rows_of_test(sweep))
    assert json.loads(capsys.readouterr().out)["rows"] == found.rows
    assert not list(sweep.glob("trials/*/predictions/test.parquet"))


def test_a_fold_without_a_complete_trial_is_left_out_and_named(sweep, capsys):
    board = sweep / "leaderboard.csv"
    before = board.read_text()
    board.write_text("number,state\n0,complete\n2,complete\n1,pruned\n")
    try:
        found = label_errors(sweep)
    finally:
        board.write_text(before)
    assert found.notes[1] == "Folds without a complete trial are left out: 1."
    assert 0 < found.rows < 50


def test_a_sweep_that_is_not_over_folds_is_refused_in_words(words, sweep, tmp_path, tiny_overrides):
    board = sweep / "leaderboard.csv"
    before = board.read_text()
    board.write_text("number,state\n0,complete\n1,pruned\n")
    with pytest.raises(FinesweepError, match=r"a sweep over folds[\s\S]*has 1 of them"):
        label_errors(sweep)
    board.write_text(before)
    with pytest.raises(FinesweepError, match=r"this is none[\s\S]*data\.split\.fold=0,1,2,3,4"):
        label_errors(sweep / "trials" / "0")
    said = CliRunner().invoke(app, ["evaluate", str(sweep), "--label-errors", "--top", "2"])
    assert said.exit_code == 1
    _, several = task("multi-label", tiny_overrides, tmp_path)
    points = [["data.split.folds=2", f"data.split.fold={fold}"] for fold in range(2)]
    with pytest.raises(FinesweepError, match="single label in each row; these are multi label"):
        label_errors(tiny_sweep(tmp_path / "several", several, points))


def test_a_page_without_a_suspect_says_so():
    nothing = Suspects("here", 10, ("a note",), [])
    assert "0 of 10 rows" in render(nothing)
    assert lines_of(nothing)[0].startswith("here: 0 of 10 rows")
