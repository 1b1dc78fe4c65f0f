"""`finesweep data`: what it counts, what it shows, and what it refuses."""

import io
import json
import re
from contextlib import redirect_stderr, redirect_stdout
from html.parser import HTMLParser

import numpy as np
import pytest
from omegaconf import OmegaConf
from typer.testing import CliRunner

from composing import compose_config
from finesweep.commands.cli import app
from finesweep.commands.data import make_report
from finesweep.commands.data.bins import bins_of_counts, bins_of_numbers
from finesweep.commands.data.page import render
from finesweep.commands.data.text import lines_of, one_line
from finesweep.commands.train import train
from finesweep.config.saved import saved_config
from finesweep.data import load_text_data
from finesweep.runs.objective import with_objective
from finesweep.tokenization.encoder import TextEncoder

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
VOID = {"meta", "br"}


def look(*words):
    """Return the outcome of `finesweep data WORDS`."""
    return CliRunner().invoke(app, ["data", *map(str, words)])


def report_of(tiny_model, rows, max_length=16, metrics="auto", **arguments):
    """Return the report of rows that are read by the tiny model's tokenizer."""
    data = load_text_data(rows, metrics=metrics, **arguments)
    _, data = with_objective({"objective": {"metric": "auto"}}, data)
    encoder = TextEncoder(str(tiny_model), max_length=max_length, stride=3)
    return make_report(data, encoder, encoder.encode(data.splits), objective=data.metrics[0], command="train")


def rows_of(problem):
    """Return 40 rows of a kind of problem, with the text or the words of row i known."""
    rows = []
    for i in range(40):
        text = f"text {WORDS[i % 10]} of {WORDS[i // 10]}"
        if problem == "token-classification":
            rows.append({"text": text.split(), "label": ["O", "B-NUM", "O", "B-NUM" if i % 2 else "B-ODD"]})
        else:
            label = {"single-label": "ab"[i % 2], "multi-label": ["a", "b"][: i % 3], "regression": i / 2}
            rows.append({"text": text, "label": label[problem]})
    return rows


class Outline(HTMLParser):
    """Which tags a page has, whether they nest, and its text."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data):
        self.text.append(data)


def outline(html):
    found = Outline()
    found.feed(html)
    found.close()
    assert not found.open
    return found


def test_the_numbers_are_those_one_counts_by_hand(tiny_overrides, tiny_model):
    done = look(*tiny_overrides, "--json")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["starts"]
    assert report["labels"] == ["animals", "colours", "numbers"]
    assert report["problem_type"] == "single_label_classification"
    parts = report["splits"]
    assert {name: part["rows"] for name, part in parts.items()} == {"train": 48, "validation": 6, "test": 6}
    totals = {name: sum(part["counts"][name] for part in parts.values()) for name in report["labels"]}
    assert totals == {"animals": 20, "colours": 20, "numbers": 20}
    # 6 stratified rows of 3 labels: a constant answer has 2 of them, and F1 0.5 for one label of three
    assert report["baseline"]["test"]["accuracy"] == pytest.approx(1 / 3)
    assert report["baseline"]["validation"]["f1_macro"] == pytest.approx(1 / 6)
    # [CLS] the cat number 12 is horse [SEP]
    assert report["lengths"]["median"] == report["lengths"]["longest"] == 8
    assert report["lengths"]["longer_than"] == dict.fromkeys(["16", "32", "64", "128", "256", "512"], 0)
    assert report["lengths"]["bins"] == [{"first": 8, "last": 8, "rows": 60}]
    assert sum(len(examples) for examples in report["examples"].values()) == 9
    for label, examples in report["examples"].items():
        for example in examples:
            assert example["label"] == label
            assert re.fullmatch(rf"\[CLS\] the \w+ number {example['id']} is \w+ \[SEP\]", example["text"])


def test_texts_that_are_cut_are_shown_cut_and_counted(tiny_model):
    rows = [{"text": " ".join(["red"] * n), "label": "ab"[n % 2]} for n in range(1, 101)]
    report = report_of(tiny_model, rows, max_length=12)
    assert report.lengths.longer_than[12] == 0.9  # 10 words and two special tokens fit
    assert report.lengths.longer_than[32] == 0.7
    assert report.lengths.covers_95 == 97
    assert report.lengths.windows is None
    cut = [example for examples in report.examples.values() for example in examples if example.is_cut]
    assert all(example.text == " ".join(["[CLS]", *["red"] * 10, "[SEP]"]) for example in cut)
    assert all(example.tokens == example.id + 1 + 2 for example in cut)


def test_windows_are_counted_instead_of_cuts(tiny_model):
    data = load_text_data([{"text": "red " * n, "label": "ab"[n % 2]} for n in range(1, 41)])
    _, data = with_objective({"objective": {"metric": "auto"}}, data)
    encoder = TextEncoder(str(tiny_model), max_length=12, long_text="windows", stride=0)
    report = make_report(data, encoder, encoder.encode(data.splits))
    assert report.lengths.windows == 10 * (1 + 2 + 3 + 4)
    text = "\n".join(lines_of(report))
    assert "40 texts are read in 100 windows" in text
    assert "is longer" in text


def test_multi_label_counts_the_rows_with_each_label(tiny_model):
    report = report_of(tiny_model, rows_of("multi-label"))
    parts = report.splits.values()
    assert sum(part.unlabelled for part in parts) == 14
    assert {name: sum(part.counts[name] for part in parts) for name in "ab"} == {"a": 26, "b": 13}
    assert all(part.share("a") == part.counts["a"] / part.rows for part in parts)
    assert [example.label for example in report.examples["b"]] == ["a, b"] * 3


def test_regression_is_reported_in_the_target_s_own_units(tiny_model):
    rows = rows_of("regression")
    report = report_of(tiny_model, {"train": rows[:30], "validation": rows[30:35], "test": rows[35:]})
    numbers = report.splits["validation"].numbers
    assert list(numbers.values()) == pytest.approx([15.0, 15.5, 16.0, 16.5, 17.0, 16.0])
    assert [sum(bin_.rows for bin_ in part.bins) for part in report.splits.values()] == [30, 5, 5]
    edges = [[(bin_.first, bin_.last) for bin_ in part.bins] for part in report.splits.values()]
    assert edges[0] == edges[1] == edges[2]
    assert [float(example.label) for example in report.examples["label"]] == [0.0, 7.5, 14.5]
    # train's mean is 7.25; the validation targets are 15.0 to 17.0
    assert report.baseline["validation"]["mae"] == pytest.approx(8.75)


def test_tokens_are_counted_as_tags_and_as_spans(tiny_model):
    report = report_of(tiny_model, rows_of("token-classification"))
    parts = report.splits.values()
    assert sum(part.of for part in parts) == 160
    assert {tag: sum(part.counts[tag] for part in parts) for tag in report.labels} == {
        "B-NUM": 60,
        "B-ODD": 20,
        "O": 80,
    }
    assert {kind: sum(part.spans[kind] for part in parts) for kind in ("NUM", "ODD")} == {
        "NUM": 60,
        "ODD": 20,
    }
    assert report.lengths.windows == 40  # words are never cut
    example = report.examples["ODD"][0]
    assert example.text.startswith("[CLS] text ")
    assert "/B-ODD" in example.text


@pytest.mark.parametrize("problem", ["single-label", "multi-label", "regression", "token-classification"])
def test_each_problem_type_has_a_report_as_text_page_and_json(problem, tiny_model):
    report = report_of(tiny_model, rows_of(problem))
    text = "\n".join(lines_of(report))
    assert "A run would start: train" in text
    found = outline(render(report))
    shown = " ".join("".join(found.text).split())
    for metric in report.metrics:
        assert metric in text
        assert metric in shown
    plain = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert plain["problem_type"].startswith(problem.replace("-", "_"))


def test_the_page_shows_labels_and_texts_with_html_in_them_as_text(tmp_path, tiny_overrides):
    lines = [
        f"<script>alert({i})</script> & {WORDS[i % 10]} {i},{'<b>x</b>' if i % 2 else 'y'}" for i in range(40)
    ]
    file, page = tmp_path / "html.csv", tmp_path / "data.html"
    file.write_text("\n".join(["text,label", *lines]) + "\n")
    done = look(*tiny_overrides, f"data.source.train={file}", "--page", page)
    assert done.exit_code == 0, done.stderr
    html = page.read_text()
    found = outline(html)
    assert not {"b", "script", "link", "img"} & set(found.tags)
    assert "<b>x</b>" in "".join(found.text)
    assert "&lt;b&gt;x&lt;/b&gt;" in html
    assert "http" not in html
    assert "prefers-color-scheme: dark" in html


def test_copies_and_leaks_are_shown(tiny_model):
    rows = rows_of("single-label")
    report = report_of(tiny_model, {"train": [*rows[:30], rows[0]], "validation": [rows[1], rows[30]]})
    text = "\n".join(lines_of(report))
    assert len(report.warnings) == 2
    assert all(line.strip() in text for warning in report.warnings for line in warning.splitlines())


def test_many_cut_texts_are_a_warning(tiny_model):
    report = report_of(tiny_model, rows_of("single-label"), max_length=3)
    assert report.warnings == ("100% of the texts are cut at 3 tokens; 6 would cover 95%",)
    assert not report_of(tiny_model, rows_of("single-label")).warnings


def test_the_command_of_a_run_that_would_start_is_shown_without_secrets(tiny_overrides, monkeypatch):
    monkeypatch.setenv("SOME_PASSWORD", "correct-horse")
    done = look(*tiny_overrides, "name=correct-horse", "data.label_names=[animals,colours,numbers]")
    assert done.exit_code == 0, done.stderr
    assert re.search("A run would start: .*finesweep train data=csv", done.stdout)
    assert "name=*** 'data.label_names=[animals,colours,numbers]'" in done.stdout
    assert "correct-horse" not in done.stdout


def test_small_targets_keep_their_digits(tiny_model):
    rows = [{"text": f"a {i}", "label": i * 1e-9} for i in range(40)]
    for standardize in (True, False):
        report = report_of(tiny_model, rows, task="regression", standardize=standardize)
        found = {part.numbers["maximum"] for part in report.splits.values()}
        assert max(found) == pytest.approx(3.9e-8)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["peft.rr=4"], 2),
        (["peft=lroa", "lerning_rate=1"], 2),
        (["data.split.validation=2"], 2),
        (["tokenizer.max_length=513"], 2),
        (["data.text_column=body"], 2),
        (["objective.metric=span_f1"], 2),
    ],
)
@pytest.mark.often(every=3)
def test_what_training_refuses_is_refused_in_the_same_words(words, code, tiny_overrides):
    done = look(*tiny_overrides, *words)
    message = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(message), pytest.raises(SystemExit) as refused:
        train([*tiny_overrides, *words])
    assert done.exit_code == refused.value.code == code
    assert done.stderr == message.getvalue()
    assert done.stderr.startswith("finesweep:")
    assert done.stdout == ""


def test_a_saved_config_is_looked_at_too(tmp_path, tiny_overrides):
    folder = tmp_path / "run"
    folder.mkdir()
    saved = saved_config(compose_config(*tiny_overrides))
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(saved)))
    words = ["--config-path", folder, "--config-name", "config"]
    done = look(*words, "tokenizer.max_length=4")
    assert done.exit_code == 0, done.stderr
    assert "tokenizer.max_length is 4; 8 covers 95% of the texts" in done.stdout
    done = look(*words, "tokenizer.max_lenth=4")
    assert done.exit_code == 2
    assert "Did you mean `max_length`?" in done.stderr


def test_a_refusal_is_json_too(tiny_overrides):
    done = look(*tiny_overrides, "peft.rr=4", "--json")
    assert done.exit_code == 2
    refusal = json.loads(done.stdout)
    assert not refusal["starts"]
    assert refusal["faults"][0]["where"] == "peft.rr"
    assert refusal["faults"][0]["value"] == "4"
    assert "peft.rr = 4" in done.stderr


def test_a_sweep_is_refused(tiny_overrides):
    done = look("-m", *tiny_overrides)
    assert done.exit_code == 2
    assert "-m asks for many" in done.stderr


@pytest.mark.parametrize("page", ["nowhere/data.html", "."])
def test_a_page_that_can_t_be_written_is_refused_before_any_work(page, tmp_path, tiny_overrides):
    done = look("data=csv", "--page", tmp_path / page)
    assert done.exit_code == 1
    assert "--page" in done.stderr
    assert "data.source.train" not in done.stderr


def test_a_source_that_prints_leaves_the_json_alone(tmp_path, tiny_model, monkeypatch):
    rows = "[{'text': f'a {i}', 'label': i % 2} for i in range(40)]"
    (tmp_path / "noisy_source.py").write_text(f"def rows():\n    print('hello')\n    return {rows}\n")
    monkeypatch.syspath_prepend(tmp_path)
    words = [
        "data=custom",
        "data.source._target_=noisy_source.rows",
        f"model.name={tiny_model}",
        "tracker=none",
    ]
    done = look(*words, "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["labels"] == ["0", "1"]
    assert "hello" in done.stderr


def test_the_help_shows_an_example():
    assert "finesweep data data=csv" in look("--help").stdout


def test_bins_hold_every_value_once():
    random = np.random.default_rng(0)
    for top in (1, 7, 16, 17, 300, 5000):
        values = random.integers(1, top + 1, 200)
        for counted in (values, np.append(values, 100_000)):
            bins = bins_of_counts(counted)
            assert len(bins) <= 17
            for bin_ in bins:
                in_it = (counted >= bin_.first) & (counted <= (bin_.last or np.inf))
                assert bin_.rows == in_it.sum()
            assert sum(bin_.rows for bin_ in bins) == len(counted)
    assert [bin_.rows for bin_ in bins_of_numbers(np.array([0.0, 0.5, 1.0]), 0, 1)] == [
        1,
        *[0] * 4,
        1,
        *[0] * 3,
        1,
    ]
    assert [bin_.rows for bin_ in bins_of_numbers(np.array([2.0, 2.0]), 2, 2)] == [2]


def test_a_text_is_shown_on_one_line_without_control_characters():
    assert one_line("a\n\tb\x1b[31m  c", 20) == "a b [31m c"
    assert one_line("abcdefghij", 8) == "abcde..."
