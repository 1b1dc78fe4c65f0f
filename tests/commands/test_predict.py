"""Predictions of a finished run: equal to the run's own, for every task, from and to every kind of file."""

import errno
import gzip
import io
import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from composing import compose_config
from finesweep.commands.cli import app
from finesweep.commands.predict import Predictor, inputs, outputs
from finesweep.commands.predict.command import predict
from finesweep.errors import DataError, FinesweepError, Interrupted
from finesweep.runs.run import run
from finesweep.runs.saved import SavedRun
from tiny import task

KINDS = ("single-label", "multi-label", "regression", "pair", "token-classification")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_model, tiny_csv_text):
    """Return the folder of a tiny run of single labels."""
    place = tmp_path_factory.mktemp("run")
    (place / "tiny.csv").write_text(tiny_csv_text)
    words = ["data=csv", f"data.source.train={place / 'tiny.csv'}", f"model.name={tiny_model}"]
    words += ["tokenizer.max_length=16", "trainer.max_steps=4", "tracker=none", "threads=1"]
    return run(compose_config(*words, f"output_dir={place}", "trainer.learning_rate=0.01")).folder


@pytest.fixture
def rows(tmp_path):
    """Return a csv file of which two rows can't be used."""
    file = tmp_path / "new.csv"
    file.write_text('id,text,n\n007,"the cat, and\nthe dog",1\n008,,2\n009,one two,3,4\n010,red and blue,5\n')
    return file


def lines_of(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


CASES = [*((kind, "lora") for kind in (*KINDS, "windows")), ("regression", "none"), ("pair", "prompt-tuning")]


@pytest.mark.parametrize(("kind", "method"), CASES)
@pytest.mark.often("single-label-lora", "token-classification-lora", "windows-lora", "regression-none")
def test_they_equal_what_the_run_itself_predicted(kind, method, tiny_overrides, tmp_path):
    windows = ["tokenizer.max_length=6", "tokenizer.long_text=windows", "tokenizer.stride=1"]
    data, words = task("single-label" if kind == "windows" else kind, tiny_overrides, tmp_path)
    words += [f"peft={method}", "trainer.learning_rate=0.01", *(windows if kind == "windows" else [])]
    result = run(compose_config(*words))
    output = tmp_path / "predicted.jsonl"
    assert predict(result.folder, str(tmp_path / "rows.jsonl"), output=output, batch_size=7)
    expected = parquet.read_table(result.folder / "predictions" / "test.parquet").to_pylist()
    found = lines_of(output)
    assert [{name: row[name] for name in data[0]} for row in found] == data
    for row in expected:
        same = found[row["id"]]
        if kind == "regression":
            assert same["predicted"] == pytest.approx(row["predicted"], abs=1e-4)
            continue
        assert same["predicted"] == row["predicted"]
        for name, probability in row.items():
            if name.startswith("p/"):
                assert same[name] == pytest.approx(probability, abs=1e-5)
    if kind == "token-classification":
        assert all(len(row["predicted"]) == len(row["score"]) == len(row["words"]) for row in found)


def test_rows_that_can_t_be_used_are_marked_and_named(folder, rows, tmp_path, capsys):
    output = tmp_path / "out.csv"
    assert not predict(folder, str(rows), output=output)
    table = pl.read_csv(output, infer_schema=False)
    assert table["id"].to_list() == ["007", "008", "009", "010"]
    assert table["text"][0] == "the cat, and\nthe dog"
    assert table["problem"].to_list() == [None, "empty text", "4 fields; the header has 3", None]
    assert [value is None for value in table["predicted"]] == [False, True, True, False]
    shares = table.select(pl.col("^p/.*$").cast(float)).sum_horizontal()
    assert [shares[0], shares[3]] == pytest.approx([1, 1])
    said = capsys.readouterr().err
    assert "2 of 4 rows have no prediction" in said
    assert "1 empty text: row 1\n" in said


def test_a_chunk_s_size_changes_nothing(folder, tmp_path):
    file = tmp_path / "many.jsonl"
    texts = [" ".join(["cat", "one", "red"][i % 3] for _ in range(i % 11)) for i in range(50)]
    file.write_text("\n".join(json.dumps({"text": text, "i": i}) for i, text in enumerate(texts)))
    predict(folder, str(file), output=tmp_path / "whole.jsonl")
    predict(folder, str(file), output=tmp_path / "pieces.jsonl", batch_size=3, chunk_size=4)
    whole, pieces = lines_of(tmp_path / "whole.jsonl"), lines_of(tmp_path / "pieces.jsonl")
    assert [row["i"] for row in pieces] == list(range(50))
    assert [row["predicted"] for row in pieces] == [row["predicted"] for row in whole]
    numbers = [[row["score"] or 0 for row in some] for some in (whole, pieces)]
    np.testing.assert_allclose(*numbers, atol=1e-6)


def test_parquet_keeps_its_types_and_compressed_files_are_read(folder, tmp_path):
    table = pl.DataFrame({"text": ["a cat", "two"], "when": [1, 2], "tags": [["x"], []]})
    table = table.with_columns(pl.col("when").cast(pl.Date))
    table.write_parquet(tmp_path / "in.parquet")
    predict(folder, str(tmp_path / "in.parquet"), output=tmp_path / "out.parquet")
    found = pl.read_parquet(tmp_path / "out.parquet")
    assert found.select("text", "when", "tags").equals(table)
    assert found["predicted"].dtype == pl.String
    (tmp_path / "in.csv.gz").write_bytes(gzip.compress(b"\xef\xbb\xbftext;n\na cat;1\n"))
    predict(folder, str(tmp_path / "in.csv.gz"), output=tmp_path / "out.tsv", delimiter=";")
    assert (tmp_path / "out.tsv").read_text().startswith("text\tn\tpredicted\tscore\tp/animals")


def test_a_file_without_rows_gives_one_with_the_columns(folder, tmp_path):
    (tmp_path / "in.csv").write_text("id,text\n")
    for name in ("out.csv", "out.parquet"):
        assert predict(folder, str(tmp_path / "in.csv"), output=tmp_path / name)
    added = ["predicted", "score", "p/animals", "p/colours", "p/numbers", "problem"]
    assert pl.read_csv(tmp_path / "out.csv").columns == ["id", "text", *added]
    found = pl.read_parquet(tmp_path / "out.parquet")
    assert found.columns == ["id", "text", *added]
    assert found["score"].dtype == pl.Float64


def test_a_parquet_file_has_all_columns_of_uneven_rows_and_nulls_where_there_is_nothing(folder, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"text": ""}\n{"text": "a cat", "n": 1}\n')
    assert not predict(folder, str(tmp_path / "in.jsonl"), output=tmp_path / "out.parquet")
    found = pl.read_parquet(tmp_path / "out.parquet")
    assert found["n"].to_list() == [None, 1]
    assert found["p/animals"].is_null().to_list() == [True, False]


def of_lines(folder, content: bytes, *words: str):
    """Return what `finesweep predict RUN -` makes of lines on stdin."""
    return CliRunner().invoke(app, ["predict", str(folder), "-", *words], input=content)


def test_stdin_has_an_encoding(folder):
    content = "caf\xe9\n".encode("latin-1")
    refused = of_lines(folder, content)
    assert refused.exit_code == 1
    assert "Not utf-8: byte 0xe9" in refused.stderr
    done = of_lines(folder, content, "--encoding", "latin-1")
    assert done.exit_code == 0
    assert done.stdout.endswith("caf\xe9\n")


def test_json_has_no_infinity(folder, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"text": "a cat", "x": 1e999, "y": [NaN, {"z": -1e999}]}\n')
    assert predict(folder, str(tmp_path / "in.jsonl"), output=tmp_path / "out.jsonl")
    (row,) = lines_of(tmp_path / "out.jsonl")
    assert (row["x"], row["y"]) == (None, [None, {"z": None}])


def test_a_file_that_cannot_be_written_is_said_before_any_prediction(folder, tmp_path, monkeypatch):
    (tmp_path / "in.csv").write_text("text\na cat\n")
    monkeypatch.setattr(Predictor, "predict", None)
    with pytest.raises(DataError, match="can't be written: No such file"):
        predict(folder, str(tmp_path / "in.csv"), output=Path("/proc/out.csv"))


def test_stdin_and_texts_give_lines(folder, capsys):
    done = of_lines(folder, b"a cat\n\ntwo three\n")
    assert done.exit_code == 3  # a row has no prediction
    first, second, third = done.stdout.splitlines()
    assert first.split("\t")[2] == "a cat"
    assert second == "-\t-\t"
    assert third.endswith("two three")
    assert predict(folder, None, texts=["a cat"], json_lines=True)
    assert json.loads(capsys.readouterr().out)["predicted"] == first.split("\t")[0]


def test_lines_of_pairs_have_a_tab():
    (chunk,) = inputs.lines(("a", "b"), stdin=io.BytesIO(b"one\ttwo\nthree\n")).chunks
    assert chunk.rows == [{"a": "one", "b": "two"}, {"a": "three", "b": None}]
    assert chunk.problems == {1: "no tab between the two texts"}


def test_lines_that_are_no_json_are_marked(folder, tmp_path):
    file = tmp_path / "in.jsonl"
    file.write_text('{"text": "a cat"}\n{"text": \n[1]\n')
    assert not predict(folder, str(file), output=tmp_path / "out.jsonl")
    problems = [row["problem"] for row in lines_of(tmp_path / "out.jsonl")]
    assert problems == [None, "no JSON object", "no JSON object"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "gone.csv"}, "no such file"),
        ({"source": "new.txt"}, "ending says what it is"),
        ({"source": "new.csv", "text_columns": ["txt"]}, "Did you mean `text`"),
        ({"source": "new.csv", "text_columns": ["text", "id"]}, "reads 1 columns: text"),
        ({"source": "new.csv", "output": "new.csv"}, "the input itself"),
        ({"source": "new.csv", "output": "out.xlsx"}, "A file's ending says what to write"),
        ({"source": "new.csv", "output": "nowhere/out.csv"}, "folder isn't there"),
        ({"source": "new.csv", "output": "folder.csv"}, "This is a folder"),
        ({"source": "new.csv", "device": "cuda:7"}, "no such device"),
        ({"source": "new.csv", "encoding": "utf-9"}, "knows no such encoding"),
        ({"source": "latin.csv"}, "Not utf-8: byte 0xe9"),
        ({"source": "twice.csv"}, "same name: text"),
        ({"source": "done.csv"}, "column `predicted` already"),
        ({"source": "shares.csv"}, "column `p/colours` already"),
        ({"source": "late.jsonl", "output": "out.jsonl"}, "column `score` already"),
        ({"source": "semicolons.csv"}, "--delimiter ';'"),
        ({"source": "new.csv", "device": "gpu"}, "Valid: cpu, cuda"),
        ({"source": None}, "only one of them"),
        ({"source": "new.csv", "texts": ["a"]}, "only one of them"),
    ],
)
def test_mistakes_say_what_to_do(folder, rows, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "new.txt").write_text("text\na\n")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "latin.csv").write_bytes("text\ncafé\n".encode("latin-1"))
    (tmp_path / "twice.csv").write_text("text,text\na,b\n")
    (tmp_path / "done.csv").write_text("text,predicted\na,b\n")
    (tmp_path / "shares.csv").write_text("text,p/colours,problem\na,b,c\n")
    (tmp_path / "late.jsonl").write_text('{"text": "a"}\n' * 8192 + '{"text": "b", "score": 1}\n')
    (tmp_path / "semicolons.csv").write_text("text;n\na;b\n")
    if "output" in arguments:
        arguments = {**arguments, "output": tmp_path / arguments["output"]}
    with pytest.raises(DataError if "device" not in arguments else FinesweepError) as error:
        predict(folder, **arguments)
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_what_was_cut_off_leaves_no_file(folder, tmp_path, name):
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\n{"text": "b", "late": 1}\n')
    with pytest.raises(DataError, match="`late` comes up first after the header"):
        predict(folder, str(tmp_path / "in.jsonl"), output=tmp_path / name, chunk_size=1)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in.jsonl"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_no_file(folder, rows, tmp_path, monkeypatch, number):
    monkeypatch.setattr(outputs.TextOutput, "write", lambda *_: os.kill(os.getpid(), number))
    with pytest.raises(Interrupted) as interruption:
        predict(folder, str(rows), output=tmp_path / "out.csv")
    assert interruption.value.signal_number == number
    assert [file.name for file in tmp_path.iterdir()] == ["new.csv"]


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_a_full_disk_is_said_and_leaves_no_file(folder, rows, tmp_path, monkeypatch, name):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(outputs, "_check_names", refuse)
    with pytest.raises(DataError, match="The disk is full"):
        predict(folder, str(rows), output=tmp_path / name)
    assert [file.name for file in tmp_path.iterdir()] == ["new.csv"]


def test_a_folder_that_was_moved_still_predicts(folder, tmp_path):
    moved = shutil.copytree(folder, tmp_path / "elsewhere", symlinks=True)
    config = json.loads((moved / "adapter" / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "/gone"
    (moved / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    texts = ["a cat", "one two"]
    before, after = (Predictor(SavedRun.open(path)).predict(texts) for path in (folder, moved))
    np.testing.assert_array_equal(before.probabilities, after.probabilities)


def test_only_a_complete_run_with_its_weights_is_opened(folder, tmp_path):
    broken = shutil.copytree(folder, tmp_path / "broken", symlinks=True)
    weights = broken / "backbone" / "model.safetensors"
    weights.unlink()
    weights.symlink_to(tmp_path / "gone.safetensors")
    with pytest.raises(FinesweepError, match="which are gone"):
        SavedRun.open(broken).model()
    status = json.loads((broken / "status.json").read_text())
    (broken / "status.json").write_text(json.dumps({**status, "state": "pruned"}))
    with pytest.raises(FinesweepError, match="this one is pruned"):
        SavedRun.open(broken)
    with pytest.raises(FinesweepError, match="A run folder holds"):
        SavedRun.open(tmp_path)


def test_thresholds_decide_what_a_multi_label_run_predicts(folder):
    opened = SavedRun.open(folder)
    schema = replace(opened.schema, problem_type="multi_label_classification")
    all_on = Predictor(replace(opened, schema=schema, thresholds=(0.0, 0.0, 1.1))).predict(["a cat"])
    assert all_on.predicted == [["animals", "colours"]]
    assert len(all_on.scores[0]) == 2
