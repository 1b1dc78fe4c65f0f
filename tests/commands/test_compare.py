"""`finesweep compare`: groups over seeds, and differences whose answer is known."""

import csv
import io
import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from finesweep.commands.compare.command import as_csv, as_json, as_markdown, compare, lines_of, writer
from finesweep.commands.compare.groups import group, read_runs
from finesweep.errors import FinesweepError
from finesweep.runs.difference import difference
from finesweep.runs.layout import RunFolder
from finesweep.system.files import write_json
from folders import draws, make_run


def test_runs_that_differ_in_their_seed_are_one_row_and_the_best_comes_first(tmp_path):
    for seed in range(3):
        make_run(tmp_path / f"low-{seed}", draws(0.7, seed=seed), seed=seed)
        make_run(tmp_path / f"high-{seed}", draws(0.9, seed=10 + seed), seed=seed, rank=8)
    make_run(tmp_path / "cut", draws(0.9), state="interrupted")
    found = compare([tmp_path])
    assert [(one.label, len(one.runs)) for one in found.groups] == [("r=8", 3), ("r=2", 3)]
    assert found.notes == ("1 of 7 runs are not complete and were left out.",)
    (gap,) = found.differences
    assert gap.verdict == "better"
    assert gap.low < 0.2 < gap.high
    lines = lines_of(found)
    assert "±" in lines[1]
    assert lines[1].endswith("r=8")
    assert max(map(len, lines)) <= 80
    rows = list(csv.DictReader(io.StringIO(as_csv(found))))
    assert [row["peft.r"] for row in rows] == ["8", "2"]
    assert float(rows[1]["best minus this"]) == pytest.approx(gap.mean)
    assert json.loads(as_json(found))["differences"]["of_the_best_over"][0]["verdict"] == "better"
    assert as_markdown(found).startswith("|  | config | runs |")


def test_an_undefined_metric_is_null_in_json(tmp_path):
    run = RunFolder(make_run(tmp_path / "run", draws(0.9)))
    result = json.loads(run.result.read_text())
    result["metrics"]["test/accuracy"] = float("nan")
    write_json(run.result, result)
    (group,) = json.loads(as_json(compare([run.path])), parse_constant=pytest.fail)["groups"]
    assert group["test/accuracy"] is None


def test_equal_runs_are_not_told_apart_and_a_run_against_itself_has_no_gap(tmp_path):
    right = draws(0.8)
    make_run(tmp_path / "one", right)
    make_run(tmp_path / "two", right, rank=4)
    (gap,) = compare([tmp_path]).differences
    assert (gap.mean, gap.low, gap.high, gap.verdict) == (0, 0, 0, "not told apart")


def test_the_interval_covers_a_known_difference_as_often_as_it_says(tmp_path):
    covered = 0
    for case in range(40):
        first = make_run(tmp_path / f"{case}-a", draws(0.9, 200, seed=2 * case))
        second = make_run(tmp_path / f"{case}-b", draws(0.8, 200, seed=2 * case + 1), rank=4)
        runs, _ = read_runs([first, second])
        by_rank = {one.config["peft.r"]: one for one in group(runs)}
        gap = difference(
            "accuracy",
            by_rank[2].folders,
            by_rank[4].folders,
            "test",
            maximizes=True,
            seed=case,
            resamples=200,
        )
        covered += gap.low <= 0.1 <= gap.high
    assert covered / 40 == pytest.approx(0.95, abs=0.08)


def test_pairing_makes_the_interval_of_runs_that_err_alike_narrow(tmp_path):
    right = draws(0.8)
    worse = right.copy()
    worse[np.flatnonzero(right)[:20]] = False
    make_run(tmp_path / "one", right)
    make_run(tmp_path / "two", worse, rank=4)
    (gap,) = compare([tmp_path]).differences
    assert gap.mean == pytest.approx(20 / 400)
    assert gap.verdict == "better"
    assert gap.high - gap.low < 0.05  # unpaired it would be 0.11


def test_a_metric_that_is_no_mean_gives_the_same_kind_of_answer(tmp_path):
    make_run(tmp_path / "one", draws(0.95), objective="f1_weighted")
    make_run(tmp_path / "two", draws(0.7, seed=1), objective="f1_weighted", rank=4)
    runs, _ = read_runs([tmp_path])
    best, other = group(runs)
    gap = difference("f1_weighted", best.folders, other.folders, "test", maximizes=True, resamples=50)
    assert gap.verdict == "better"


def test_rows_that_differ_are_not_paired_and_validation_is_said(tmp_path):
    make_run(tmp_path / "one", draws(0.9))
    make_run(tmp_path / "two", draws(0.8), rank=4, shift=1)
    found = compare([tmp_path])
    assert found.differences == (None,)
    assert "1. over 2.: their rows differ" in lines_of(found)
    make_run(tmp_path / "three", draws(0.7), rank=16, split="validation")
    assert any("which chose them" in note for note in compare([tmp_path]).notes)


def test_what_can_t_be_compared_is_refused(tmp_path):
    with pytest.raises(FinesweepError, match="No such folder"):
        compare([tmp_path / "gone"])
    with pytest.raises(FinesweepError, match="no complete run"):
        compare([tmp_path])
    make_run(tmp_path / "one", draws(0.9))
    make_run(tmp_path / "two", draws(0.9), objective="f1_macro")
    with pytest.raises(FinesweepError, match="different objectives: accuracy, f1_macro"):
        compare([tmp_path])
    with pytest.raises(FinesweepError, match="--csv --md"):
        writer(csv=True, json=False, md=True)


def test_rates_that_look_alike_are_two_configurations_and_0_and_0_0_are_one(tmp_path):
    rates = (0.0012345, 0.0012346, 0.0012346)
    for i, (rate, decay) in enumerate(zip(rates, (0, 0.0, 0), strict=True)):
        folder = RunFolder(make_run(tmp_path / str(i), draws(0.9 - i / 10), seed=i))
        folder.write_config({"seed": i, "trainer": {"learning_rate": rate, "weight_decay": decay}}, [])
    found = compare([tmp_path])
    assert [len(one.runs) for one in found.groups] == [1, 2]
    assert [one.label for one in found.groups] == ["learning_rate=0.0012345", "learning_rate=0.0012346"]


def test_runs_of_one_config_whose_data_changed_between_them_are_no_group(tmp_path):
    for i, data in enumerate(("aaaaaaaaaa", "aaaaaaaaaa", "bbbbbbbbbb")):
        folder = RunFolder(make_run(tmp_path / str(i), draws(0.9 - i / 10), seed=i))
        write_json(folder.provenance, {"fingerprints": {"data": data, "model": {"weights": "w"}}})
    found = compare([tmp_path])
    assert [(one.label, len(one.runs)) for one in found.groups] == [
        ("data=aaaaaaaa", 2),
        ("data=bbbbbbbb", 1),
    ]
    assert any("their data or their model changed" in note for note in found.notes)


def test_the_same_data_from_another_file_are_the_same_data(tmp_path):
    for i in range(2):
        folder = RunFolder(make_run(tmp_path / str(i), draws(0.9), seed=i))
        folder.write_config({"seed": i, "data": {"source": {"train": f"/place-{i}/rows.csv"}}}, [])
        write_json(folder.provenance, {"fingerprints": {"data": "aaaaaaaaaa"}})
    (one,) = compare([tmp_path]).groups
    assert len(one.runs) == 2


def test_rows_of_other_labels_are_other_rows(tmp_path):
    make_run(tmp_path / "one", draws(0.9), rank=2)
    folder = RunFolder(make_run(tmp_path / "other", draws(0.8), rank=4))
    file = folder.predictions / "test.parquet"
    table = parquet.read_table(file)
    others = pa.array(["b", *table["label"].to_pylist()[1:]])
    parquet.write_table(table.set_column(1, "label", others), file)
    assert compare([tmp_path]).differences == (None,)
