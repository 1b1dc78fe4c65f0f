"""`finesweep evaluate`: its numbers against the run's own, and against answers that are known."""

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, List

from composing import compose_config
from finesweep.commands.evaluate import command as evaluation
from finesweep.commands.evaluate import figures
from finesweep.commands.evaluate.confidence import best_temperature, confidence_of
from finesweep.commands.evaluate.page import render
from finesweep.commands.evaluate.rows import LabelledRows
from finesweep.commands.predict.command import predict
from finesweep.data.labels import MULTI, REGRESSION, TOKENS, LabelSchema
from finesweep.errors import DataError, FinesweepError
from finesweep.metrics.intervals import intervals
from finesweep.metrics.scores import Scored
from finesweep.runs.run import run
from tiny import task

# As many resamples as the page needs; how well intervals cover has a test of its own.
evaluate = partial(evaluation.evaluate, resamples=30)

SCHEMA = LabelSchema(("a", "b"), ("a", "b"))


@pytest.mark.parametrize(
    "kind", ["single-label", "multi-label", "regression", "pair", "token-classification"]
)
@pytest.mark.often("multi-label", "token-classification")
def test_its_metrics_are_those_of_the_run(kind, tiny_overrides, tmp_path, capsys):
    rows, words = task(kind, tiny_overrides, tmp_path)
    result = run(compose_config(*words, "trainer.learning_rate=0.01"))
    found = evaluate(result.folder)
    stored = json.loads((result.folder / "evaluation.json").read_text())
    assert stored["rows"] == found.rows == 6
    for name, interval in found.metrics.items():
        assert interval.value == pytest.approx(result.metrics[f"test/{name}"], abs=1e-4, nan_ok=True)
        assert not interval.value > interval.high
        assert not interval.value < interval.low
    assert "</html>" in (result.folder / "evaluation.html").read_text()
    assert "6 rows" in capsys.readouterr().out
    # Its own training file, whole: rows that it knows and rows that it doesn't.
    again = evaluate(result.folder, [str(tmp_path / "rows.jsonl")])
    assert again.rows == len(rows)
    assert (result.folder / "evaluation-rows.json").is_file()
    (tmp_path / "one.jsonl").write_text(json.dumps(rows[0]) + "\n")
    assert evaluate(result.folder, [str(tmp_path / "one.jsonl")]).rows == 1


def test_a_file_of_labels_in_another_order_means_the_same(finished, tmp_path):
    result = finished("trainer.learning_rate=0.01", "trainer.max_steps=20")
    (tmp_path / "few.csv").write_text(
        "text,label\nthe one is three,numbers\nthe cat is horse,animals\n,animals\n"
    )
    found = evaluate(result.folder, [str(tmp_path / "few.csv")])
    assert found.rows == 2
    assert found.notes == ("1 of 3 rows left out: no usable text or label",)
    assert {part.label: part.rows for part in found.per_label} == {"animals": 1, "colours": 0, "numbers": 1}
    (tmp_path / "new.csv").write_text("text,label\na,plants\nb,animals\n")
    with pytest.raises(DataError, match="never seen the labels `plants`"):
        evaluate(result.folder, [str(tmp_path / "new.csv")])
    (tmp_path / "one.csv").write_text("text,label\nthe cat is horse,animals\n")
    assert evaluate(result.folder, [str(tmp_path / "one.csv")]).rows == 1
    (tmp_path / "named.csv").write_text("text,labels\nthe cat is horse,animals\n")
    with pytest.raises(DataError, match=r"no column `label`, .* Did you mean `labels`") as error:
        evaluate(result.folder, [str(tmp_path / "named.csv")])
    assert len(error.value.faults) == 1


@pytest.mark.parametrize("kind", ["single-label", "multi-label", "token-classification"])
@pytest.mark.often("single-label")
def test_a_file_names_the_classes_of_a_run_or_gives_their_numbers(kind, tiny_overrides, tmp_path):
    rows, words = task(kind, tiny_overrides, tmp_path)
    column = "tags" if kind == "token-classification" else "label"
    names = ["O", "B-C"] if column == "tags" else ["green", "blue", "red"]
    feature = ClassLabel(names=names) if kind == "single-label" else List(ClassLabel(names=names))
    data = Dataset.from_list(rows).cast_column(column, feature)
    data.save_to_disk(tmp_path / "saved")
    words = ["data=arrow" if word == "data=json" else word for word in words]
    words = [w if "source.train" not in w else f"data.source.train={tmp_path / 'saved'}" for w in words]
    result = run(compose_config(*words))
    Path(tmp_path / "numbers.jsonl").write_text("\n".join(json.dumps(row) for row in data))
    by_name = evaluate(result.folder, [str(tmp_path / "rows.jsonl")])
    by_number = evaluate(result.folder, [str(tmp_path / "numbers.jsonl")])
    assert by_name.metrics == by_number.metrics
    assert by_name.per_label == by_number.per_label
    assert by_name.rows == len(rows)
    (tmp_path / "one.jsonl").write_text(json.dumps(rows[0]) + "\n")
    assert evaluate(result.folder, [str(tmp_path / "one.jsonl")]).rows == 1


def test_a_file_is_read_as_the_run_s_own_were(finished, tmp_path, tiny_csv_text):
    """A tab named in letters, and a quote that is text, for evaluate and for predict."""
    text = tiny_csv_text.replace(",", "\t").replace("\n", '\n"', 1)
    (tmp_path / "rows.csv").write_text(text)
    source = f"data.source.train={tmp_path / 'rows.csv'}"
    folder = finished(source, "data.source.delimiter=tab", "data.source.quote=null").folder
    (tmp_path / "new.csv").write_text(text)
    assert evaluate(folder, [str(tmp_path / "new.csv")]).rows == text.count("\n") - 1
    assert predict(folder, str(tmp_path / "new.csv"), output=tmp_path / "out.jsonl")
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == text.count("\n") - 1


def test_a_file_is_read_with_the_types_of_the_run(finished, tmp_path):
    """Without the third label, true and false would be bools."""
    rows = [f"the text {i} is {label},{label}" for i, label in enumerate(["true", "false", "unclear"] * 20)]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *rows]))
    folder = finished(f"data.source.train={tmp_path / 'rows.csv'}").folder
    later = [row for row in rows if not row.endswith("unclear")]
    (tmp_path / "later.csv").write_text("\n".join(["text,label", *later]))
    assert evaluate(folder, [str(tmp_path / "later.csv")]).rows == len(later)


def test_a_source_that_prints_leaves_the_json_alone(tiny_overrides, tmp_path, capsys):
    rows = "[{'text': f'a {i}', 'label': i % 2} for i in range(40)]"
    (tmp_path / "noisy.py").write_text(f"def rows():\n    print('hello')\n    return {rows}\n")
    kept = [word for word in tiny_overrides if not word.startswith("data")]
    words = [*kept, "data=python", f"data.source.function={tmp_path / 'noisy.py'}:rows"]
    folder = run(compose_config(*words)).folder
    capsys.readouterr()
    evaluate(folder, trusted=["function"], as_json=True)
    out, err = capsys.readouterr()
    assert json.loads(out)["rows"] == 4
    assert "hello" in err


def test_other_data_and_splits_and_mistakes(finished, tmp_path):
    result = finished()
    test = tmp_path / "test.csv"
    test.write_text("text,label\nthe one is three,numbers\nthe cat is horse,animals\n")
    found = evaluate(result.folder, [f"data.source.test={test}"])
    assert (found.rows, found.on) == (2, f"test split with data.source.test={test}")
    assert evaluate(result.folder, split="validation").rows == 6
    assert {f.name for f in result.folder.glob("evaluation*.json")} == {
        "evaluation-other.json", "evaluation-validation.json"}  # fmt: skip
    with pytest.raises(DataError, match="no such split"):
        evaluate(result.folder, split="tset")
    with pytest.raises(DataError, match="one file, or overrides"):
        evaluate(result.folder, ["a.csv", "data.limit=3"])
    with pytest.raises(FinesweepError, match=r"source\.trian"):
        evaluate(result.folder, ["data.source.trian=3"])


def test_a_stranger_s_data_are_not_called(finished, tmp_path):
    result = finished()
    copy = shutil.copytree(result.folder, tmp_path / "copy", symlinks=True)
    config = (copy / "config.yaml").read_text().replace("finesweep.data.sources.csv", "os.system")
    (copy / "config.yaml").write_text(config)
    with pytest.raises(FinesweepError, match=r"os\.system"):
        evaluate(copy)


def test_intervals_of_a_share_cover_it_as_often_as_they_say():
    random = np.random.default_rng(1)
    covered = 0
    for seed in range(60):
        right = random.random(150) < 0.8
        scored = Scored(np.where(right, 1, 0), np.ones(150, int))
        found = intervals(["accuracy"], scored, SCHEMA, seed, resamples=200)["accuracy"]
        covered += found.low <= 0.8 <= found.high
    assert covered / 60 == pytest.approx(0.95, abs=0.06)


def test_figures_of_a_case_counted_by_hand():
    truth, predicted = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 0])
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.05, 0.95], [0.3, 0.7], [0.6, 0.4]])
    scored = Scored(predicted, truth, probabilities)
    assert figures.confusion(scored, SCHEMA) == [[2, 1], [1, 1]]
    a, b = figures.per_label(scored, SCHEMA)
    assert (a.precision, a.recall, a.rows, a.predicted) == (2 / 3, 2 / 3, 3, 3)
    assert (b.precision, b.recall, b.f1) == (0.5, 0.5, 0.5)
    bins = figures.calibration(scored, SCHEMA)
    assert [(bin.count, bin.accuracy) for bin in bins] == [(1, 0.0), (1, 1.0), (1, 1.0), (2, 0.5)]
    rows = LabelledRows("five", [10, 11, 12, 13, 14], (list("vwxyz"),), truth)
    assert [example.id for example in figures.hardest(scored, rows, SCHEMA)] == [12, 14, 13, 11, 10]
    assert figures.hardest(scored, rows, SCHEMA)[0].hardness == pytest.approx(-np.log(0.05))


def test_the_temperature_of_logits_that_were_multiplied_is_their_factor():
    """Labels are drawn from probabilities whose logits are then made three times as sure, or half as sure."""
    numbers = np.random.default_rng(0)
    logits = 2 * numbers.normal(size=(4000, 3))
    honest = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = np.array([numbers.choice(3, p=row) for row in honest])
    for factor in (3.0, 1.0, 0.5):
        surer = np.exp(factor * logits) / np.exp(factor * logits).sum(1, keepdims=True)
        assert best_temperature(surer, truth) == pytest.approx(factor, rel=0.1)


def test_confidence_of_a_case_counted_by_hand():
    schema = LabelSchema(("a", "b"), ("a", "b"))
    probabilities = np.array([[0.95, 0.05], [0.85, 0.15], [0.25, 0.75], [0.35, 0.65]])
    scored = Scored(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]), probabilities)
    found = confidence_of(scored, figures.calibration(scored, schema), schema)
    assert found.calibration_error == pytest.approx((0.05 + 0.15 + 0.25 + 0.65) / 4)
    assert [(part.share, part.accuracy) for part in found.coverage] == [
        (1.0, 0.75), (0.9, 0.75), (0.8, 1.0), (0.7, 1.0), (0.5, 1.0)]  # fmt: skip
    assert found.coverage[-1].least == 0.85


def test_an_evaluation_begins_with_a_sentence(finished, tmp_path, capsys):
    run = finished("trainer.max_steps=1")
    found = evaluate(run.folder)
    said = capsys.readouterr().out
    right = sum(row[i] for i, row in enumerate(found.confusion)) / found.rows
    assert found.headline.startswith(f"{right:.0%} right; ")
    page = (run.folder / "evaluation.html").read_text()
    for text in (found.headline, "Calibration error", "Temperature"):
        assert text in said
        assert text in page
    assert f"finesweep predict {found.run} new.csv -o predicted.csv" in page


def test_figures_of_several_labels_and_of_numbers():
    several = LabelSchema(("a", "b"), ("a", "b"), MULTI)
    scored = Scored(
        np.array([[1, 1], [0, 0]]), np.array([[1, 0], [0, 1]]), np.array([[0.9, 0.6], [0.2, 0.3]])
    )
    a, b = figures.per_label(scored, several)
    assert (a.precision, a.recall, b.precision, b.recall) == (1, 1, 0, 0)
    rows = LabelledRows("two", [0, 1], (["x", "y"], ["z", "w"]), scored.truth)
    hardest = figures.hardest(scored, rows, several)
    assert [(example.id, example.text, example.predicted) for example in hardest] == [
        (1, "y | w", "none"), (0, "x | z", "a, b")]  # fmt: skip
    numbers = Scored(np.array([1.0, 5.0]), np.array([1.0, 2.0]))
    (hard,) = figures.hardest(numbers, rows, LabelSchema(("n",), (), REGRESSION))
    assert (hard.id, hard.hardness, hard.label, hard.predicted) == (1, 3.0, "2", "5")


def test_figures_of_tags_and_of_numbers():
    tags = LabelSchema(("O", "B-X", "I-X", "B-Y"), (), TOKENS)
    scored = Scored([["B-X", "O", "B-Y"], ["O"]], [["B-X", "I-X", "B-Y"], ["B-Y"]])
    x, y = figures.per_label(scored, tags)
    assert (x.label, x.precision, x.recall, x.rows, x.predicted) == ("X", 0, 0, 1, 1)
    assert (y.label, y.precision, y.recall, y.rows, y.predicted) == ("Y", 1, 0.5, 2, 1)
    rows = LabelledRows("two", [0, 1], ([["an", "old", "cat"], ["dog"]],), scored.truth)
    first, second = figures.hardest(scored, rows, tags)
    assert (first.predicted, first.label) == ("none", "dog (Y)")
    assert (second.predicted, second.label) == ("an (X), cat (Y)", "an old (X), cat (Y)")
    many = Scored(np.arange(900.0), np.arange(900.0) + 1)
    places = figures.points(many, LabelSchema(("n",), (), REGRESSION))
    assert (places[0], places[-1], len(places)) == ((1, 0), (900, 899), 500)


def test_names_with_html_in_them_are_text(finished, tmp_path):
    file = tmp_path / "html.csv"
    nasty = "<script>alert(1)</script>"
    file.write_text("text,label\n" + "".join(f"{nasty} {i},{['<b>x</b>', 'y'][i % 2]}\n" for i in range(40)))
    result = finished(f"data.source.train={file}")
    page = render(evaluate(result.folder))
    assert nasty not in page
    assert "<b>x" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_the_baseline_and_the_probe_stand_beside_the_run_s_own_split_alone(finished, tmp_path, capsys):
    folder = finished("baseline=auto", "trainer.learning_rate=1e-9").folder
    capsys.readouterr()
    found = evaluate(folder)
    known = json.loads((folder / "result.json").read_text())
    assert found.beside["probe"]["accuracy"] == known["probe"]["test/accuracy"] > 0.9
    assert found.beside["baseline"]["accuracy"] == known["baseline"]["test/accuracy"]
    said = " ".join(capsys.readouterr().out.split())
    assert "value (95% interval) baseline probe" in said
    assert "This fine-tuning does not beat its probe: accuracy" in said
    page = (folder / "evaluation.html").read_text()
    assert '<th scope="col" class="number">probe</th>' in page
    assert "does not beat its probe" in page
    (tmp_path / "one.csv").write_text("text,label\nthe cat is horse,animals\n")
    other = evaluate(folder, [str(tmp_path / "one.csv")])
    assert (other.beside, other.notes) == ({}, ())
