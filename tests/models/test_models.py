"""Dropout, frozen layers, a copied head, random weights, tokenizers that don't fit; and what is refused."""

import json
import shutil

import huggingface_hub
import pytest
import torch
from pyarrow import parquet

from composing import compose_config
from finesweep.config.check import check
from finesweep.config.origin import Origin
from finesweep.data import LabelSchema
from finesweep.errors import ConfigError, FinesweepError
from finesweep.models.adapters import FullFineTuning, attach
from finesweep.models.loading import load_classifier, random_classifier
from finesweep.models.weights import copy_head, link_backbone
from tiny import make_model

SCHEMA = LabelSchema(("a", "b", "c"), ("a", "b", "c"))
FAMILIES = ("bert", "distilbert", "modernbert", "albert")


def load(folder, **settings):
    torch.manual_seed(0)
    return load_classifier(name=str(folder), schema=SCHEMA, **settings)


@pytest.mark.parametrize("family", FAMILIES)
def test_one_key_sets_every_dropout_rate(tmp_path, family):
    model = load(make_model(tmp_path, family), dropout=0.25).model
    rates = {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)}
    assert rates == {0.25}


def test_a_hub_s_model_is_known_by_its_commit_and_linked_from_the_cache(tiny_model, tmp_path, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--some--name"
    shutil.copytree(tiny_model, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    classifier = load("some/name")
    assert (classifier.revision, load(tiny_model).revision) == (commit, None)
    link_backbone(classifier, tmp_path / "backbone")
    weights = tmp_path / "backbone" / "model.safetensors"
    assert weights.samefile(repository / "snapshots" / commit / "model.safetensors")


def test_frozen_layers_stay_and_the_others_learn(tiny_model):
    classifier = load(tiny_model, freeze_layers=1)
    assert classifier.frozen == ("embeddings", "the first 1 layers")
    adapted = attach(classifier, FullFineTuning())
    for name, parameter in adapted.model.named_parameters():
        stays = "embeddings" in name or "layer.0." in name
        assert parameter.requires_grad != stays, name


@pytest.mark.parametrize(
    ("family", "settings", "message"),
    [
        ("bert", {"freeze_layers": 3}, "This bert has 2 layers"),
        ("albert", {"freeze_layers": 1}, "shares the weights of its layers"),
        ("bert", {"dropout": 1.5}, "It is a probability"),
        ("bert", {"quantization": "4bit"}, "It needs a GPU"),
        ("bert", {"attn_implementation": "flash_attention_2"}, "model.attn_implementation"),
    ],
)
def test_what_a_model_or_a_machine_can_t_do_is_said(tmp_path, family, settings, message):
    if "quantization" in settings and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(FinesweepError, match=message):
        load(make_model(tmp_path, family), **settings)


def test_frozen_layers_and_a_peft_method_contradict_each_other(finished):
    with pytest.raises(ConfigError, match="layers_to_transform"):
        finished("+model.freeze_layers=1")


def test_the_weights_are_in_the_type_that_is_asked_for(tiny_model):
    assert load(tiny_model, dtype="bfloat16").model.dtype == torch.bfloat16


@pytest.mark.parametrize("method", ["lora", "none"])
def test_a_head_is_copied_from_a_run(finished, method, tiny_model):
    run = finished(f"peft={method}")
    schema = LabelSchema(("animals", "colours", "numbers"), ("animals", "colours", "numbers"))
    torch.manual_seed(5)
    settings = {"name": str(tiny_model), "schema": schema}
    fresh = load_classifier(**settings)
    copied = load_classifier(**settings, init_head_from=str(run.folder)).model.classifier.weight
    own = load_classifier(**settings).model.classifier.weight
    assert fresh.fresh_modules == ("classifier",)
    assert not torch.equal(copied, own)
    again = load_classifier(**settings)
    copy_head(again.model, again.fresh_modules, schema, run.folder / "adapter")
    assert torch.equal(copied, again.model.classifier.weight)


def test_a_head_of_other_labels_is_refused(finished, tiny_model):
    run = finished()
    with pytest.raises(
        ConfigError, match="Its labels are animals, colours, numbers; these data have a, b, c"
    ):
        load(tiny_model, init_head_from=str(run.folder))


def test_a_folder_without_a_head_is_refused(tiny_model):
    with pytest.raises(ConfigError, match=r"It has no classifier\.weight"):
        load(tiny_model, init_head_from=str(tiny_model))


@pytest.mark.parametrize("method", ["lora", "none", "prompt-tuning"])
@pytest.mark.often("lora")
def test_random_weights_are_saved_with_what_stands_on_them(finished, tiny_model, method):
    from peft import AutoPeftModelForSequenceClassification
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    words = ["model=from-config", f"model.name={tiny_model}", "model.sizes={num_hidden_layers: 1}"]
    run = finished(*words, f"peft={method}", "speedups=none")
    kind = AutoModelForSequenceClassification if method == "none" else AutoPeftModelForSequenceClassification
    model = kind.from_pretrained(run.folder / "adapter").eval()
    assert model.config.num_hidden_layers == 1
    saved = parquet.read_table(run.folder / "predictions" / "test.parquet").to_pydict()
    file = next(p for p in run.folder.parents if (p / "tiny.csv").exists()) / "tiny.csv"
    texts = [line.rpartition(",")[0] for line in file.read_text().splitlines()[1:]]
    tokenizer = AutoTokenizer.from_pretrained(run.folder / "tokenizer")
    inputs = tokenizer([texts[i] for i in saved["id"]], padding=True, truncation=True, max_length=16,
                       return_tensors="pt")  # fmt: skip
    with torch.no_grad():
        probabilities = model(**inputs).logits.softmax(-1)
    for i, label in enumerate(("animals", "colours", "numbers")):
        assert probabilities[:, i].tolist() == pytest.approx(saved[f"p/{label}"], abs=1e-5)


def test_random_weights_follow_the_seed_and_leave_the_head_alone_to_be_fresh(tiny_model):
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        classifier = random_classifier(name=str(tiny_model), schema=SCHEMA, sizes={"num_hidden_layers": 1})
        found.append(classifier.model.bert.encoder.layer[0].output.dense.weight)
        assert classifier.fresh_modules == ("classifier",)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_a_size_that_the_architecture_lacks_is_refused(tiny_model):
    with pytest.raises(ConfigError, match=r"no such size[\s\S]*num_hidden_layers"):
        random_classifier(name=str(tiny_model), schema=SCHEMA, sizes={"layers": 1})


def test_foreign_code_is_for_the_command_line_only(tiny_overrides, tiny_model):
    config = compose_config(*tiny_overrides, "+model.trust_remote_code=true")
    choices = {"model": "mine"}
    with pytest.raises(ConfigError, match="it has to be on the command line"):
        check(config, Origin(choices, ()))
    check(config, Origin(choices, ("model.trust_remote_code=true",)))


def test_a_model_with_code_of_its_own_is_refused(tmp_path, tiny_model):
    folder = tmp_path / "own-code"
    make_model(folder, "bert")
    config = json.loads((folder / "config.json").read_text())
    auto_map = {"AutoConfig": "own.OwnConfig", "AutoModelForSequenceClassification": "own.OwnModel"}
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "own", "auto_map": auto_map}))
    (folder / "own.py").write_text("raise SystemExit('this ran')")
    with pytest.raises(FinesweepError, match="never run unasked"):
        load(folder)


@pytest.mark.parametrize(
    ("settings", "words", "message"),
    [
        ({"vocab_size": 30000}, (), "It has 30,522 tokens, the model 30,000 embeddings"),
        ({"vocab_size": 40000}, (), "they don't belong together"),
        ({"pad_token_id": 5}, (), "Its pad token is number 0; the model expects number 5"),
        ({"max_position_embeddings": 20}, ("tokenizer.max_length=24",), "20 positions: 20 are left"),
        ({"max_position_embeddings": 20}, ("peft=prompt-tuning",), "20 of them for the prompt: 0 are left"),
    ],
)
@pytest.mark.often(every=3)
def test_a_tokenizer_that_doesn_t_fit_is_refused(finished, tmp_path, settings, words, message):
    folder = make_model(tmp_path / "other", "bert", **settings)
    with pytest.raises(ConfigError, match=message):
        finished(f"model.name={folder}", *words)


def test_flex_attention_is_refused_where_it_can_t_train(tiny_model, tiny_overrides, monkeypatch):
    """On a CPU before anything is read; on a GPU when the model drops attention."""
    from transformers import AutoConfig

    from finesweep.commands.validate import validate
    from finesweep.models.loading import check_attention

    config = AutoConfig.from_pretrained(tiny_model)
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"attn_implementation = flex_attention[\s\S]*needs a GPU"):
        validate([*tiny_overrides, "+model.attn_implementation=flex_attention"])
    monkeypatch.setattr("torch.accelerator.is_available", lambda: True)
    with pytest.raises(ConfigError, match=r"attention_probs_dropout_prob is 0.1[\s\S]*model.dropout=0"):
        check_attention("flex_attention", config)
    config.attention_probs_dropout_prob = 0.0
    check_attention("flex_attention", config)
