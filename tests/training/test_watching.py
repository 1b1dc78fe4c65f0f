"""Evaluations during training cost a third of it at most; the last one is of every row."""

from __future__ import annotations

import json
from itertools import combinations, product

import numpy as np
import pytest
from pyarrow import parquet

from finesweep.errors import ConfigError
from finesweep.runs.layout import RunFolder
from finesweep.training.watching import SMALLEST_PART, affordable_texts
from tiny import lines_of

STILL = ("trainer.learning_rate=0", "trainer.eval_rows=3", "speedups=none", "test=false")


def result_of(result):
    return json.loads((result.folder / "result.json").read_text())


def predictions_of(result):
    return parquet.read_table(result.folder / "predictions" / "validation.parquet").to_pydict()


def test_all_evaluations_together_have_no_more_rows_than_training():
    for texts, windows, seen, evaluations in product(
        (10, 700, 3816, 99_999), (1, 3), (480, 9_999, 3e6), (0, 1, 8)
    ):
        part = affordable_texts(texts, texts * windows, seen, evaluations)
        if part == texts:
            assert texts <= SMALLEST_PART or evaluations * texts * windows <= seen
        elif part > SMALLEST_PART:
            assert (evaluations * part + texts) * windows <= seen
        else:
            assert part == SMALLEST_PART  # fewer would tell too little
    assert affordable_texts(3816, 3816, 480, 8) == SMALLEST_PART
    assert affordable_texts(3816, 3816, 13_000, 8) == 4 * SMALLEST_PART
    assert affordable_texts(222, 222, 480, 8) == 222


@pytest.mark.parametrize(
    "tokenizer", [(), ("tokenizer=windows", "tokenizer.max_length=8", "tokenizer.stride=2")]
)
@pytest.mark.often("tokenizer0")
def test_a_part_is_evaluated_while_training_and_the_whole_at_the_end(finished, tokenizer):
    """At a rate of 0 the loss logged on the way is that of a text of each label, with either trainer."""
    losses = set()
    for words in (("trainer=hf",), ("trainer=native", "trainer.per_device_eval_batch_size=2")):
        result = finished(*words, *STILL, *tokenizer)
        columns = predictions_of(result)
        assert len(columns["label"]) == 6
        each = [-np.log(columns[f"p/{label}"][row]) for row, label in enumerate(columns["label"])]
        stratified = [
            np.mean([each[row] for row in rows])
            for rows in combinations(range(6), 3)
            if len({columns["label"][row] for row in rows}) == 3
        ]
        (logged,) = {line["validation/loss"] for line in lines_of(result) if "validation/loss" in line}
        assert min(abs(logged - value) for value in stratified) < 5e-7
        assert result.metrics["validation/loss"] == pytest.approx(np.mean(each), abs=1e-6)
        assert abs(logged - result.metrics["validation/loss"]) > 2e-6
        assert lines_of(result)[-1]["whole_validation/loss"] == result.metrics["validation/loss"]
        assert result_of(result)["eval_rows"] == 3
        losses.add(round(logged, 5))
    assert len(losses) == 1


@pytest.mark.parametrize("trainer", ["hf", "native"])
def test_training_itself_is_the_same(finished, trainer):
    part, whole = (
        finished(f"trainer={trainer}", "test=false", f"trainer.eval_rows={rows}") for rows in (3, "all")
    )
    assert "eval_rows" not in result_of(whole)
    first, second = (
        [line["train/loss"] for line in lines_of(result) if "train/loss" in line] for result in (part, whole)
    )
    assert first == second


def test_by_itself_a_large_split_is_cut_and_a_config_from_before_keeps_all_of_it(finished, tmp_path):
    file = tmp_path / "many.csv"
    rows = [f"the thing number {i} is {'red' if i % 2 else 'blue'},{'ab'[i % 2]}" for i in range(600)]
    file.write_text("\n".join(["text,label", *rows]))
    words = [f"data.source.train={file}", "data.split.validation=0.5", "test=false", "trainer=native"]
    assert result_of(finished(*words))["eval_rows"] == SMALLEST_PART
    assert "eval_rows" not in result_of(finished(*words, "~trainer.eval_rows"))


def test_a_run_goes_on_with_the_part_that_its_best_evaluation_had(finished):
    words = ("trainer=native", "trainer.max_steps=4", "trainer.save_total_limit=5", "test=false")
    folder = RunFolder(finished(*words, "trainer.eval_rows=3").folder)
    with pytest.raises(ConfigError, match=r"eval_rows = 5[\s\S]*Go on with trainer.eval_rows=3"):
        finished(*words, "trainer.eval_rows=5", folder=folder)
    other = f"+trainer.resume_from_checkpoint={folder.checkpoints / 'checkpoint-2'}"
    assert result_of(finished(*words, "trainer.eval_rows=5", other))["eval_rows"] == 5


@pytest.mark.parametrize("value", ["some", "0", "-3"])
def test_what_is_no_number_of_texts_is_refused(finished, value):
    with pytest.raises(ConfigError, match="a number of texts, all, or auto"):
        finished(f"trainer.eval_rows={value}")
