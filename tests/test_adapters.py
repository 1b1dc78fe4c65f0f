"""Methods attach where they should, and every fresh parameter is trained."""

import peft
import pytest
import torch

from finesweep.adapters import PRESETS, FullFineTuning, HeadOnly, attach
from finesweep.data import LabelSchema
from finesweep.errors import ConfigError
from finesweep.models import Classifier, load_classifier
from tiny import make_model

SCHEMA = LabelSchema(("a", "b", "c"), ("a", "b", "c"))
FAMILIES = ("bert", "distilbert", "roberta")


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory):
    return make_model(tmp_path_factory.mktemp(request.param), request.param)


def load(folder) -> Classifier:
    torch.manual_seed(0)
    return load_classifier(name=str(folder), schema=SCHEMA)


def logits(model) -> torch.Tensor:
    ids = torch.arange(12).reshape(2, 6) + 1000
    model.eval()
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits


@pytest.mark.parametrize("preset", PRESETS)
def test_a_fresh_adapter_changes_no_output_and_trains_the_head(family, preset):
    expected = logits(load(family).model)
    classifier = load(family)
    adapted = attach(classifier, peft.LoraConfig(target_modules=preset, r=2))
    assert torch.equal(logits(adapted.model), expected)
    assert set(adapted.matched.values()) == {2}
    adapted.model.train()
    ids = torch.arange(12).reshape(2, 6) + 1000
    adapted.model(
        input_ids=ids, attention_mask=torch.ones_like(ids), labels=torch.tensor([0, 1])
    ).loss.backward()
    for name, parameter in adapted.model.named_parameters():
        is_new = "lora_" in name or "modules_to_save" in name
        assert parameter.requires_grad == is_new, name
        assert (parameter.grad is not None) == is_new, name
    saved = {name for name, p in adapted.model.named_parameters() if "modules_to_save" in name}
    for fresh in classifier.fresh_modules:
        assert any(fresh in name for name in saved), fresh


def test_all_linear_is_every_linear_layer_of_the_backbone(family):
    classifier = load(family)
    heads = tuple(classifier.fresh_modules)
    linear = [
        n
        for n, m in classifier.model.named_modules()
        if isinstance(m, torch.nn.Linear) and not n.startswith(heads)
    ]
    linear = [name for name in linear if "pooler" not in name]
    adapted = attach(classifier, peft.LoraConfig(target_modules="all-linear", r=2))
    assert sum(adapted.matched.values()) == len(linear)


def test_head_only_trains_the_fresh_modules_alone(family):
    classifier = load(family)
    adapted = attach(classifier, HeadOnly())
    trained = {name for name, p in adapted.model.named_parameters() if p.requires_grad}
    assert trained
    assert all(name.startswith(classifier.fresh_modules) for name in trained)
    assert adapted.trainable == sum(p.numel() for p in adapted.model.parameters() if p.requires_grad)


def test_full_fine_tuning_trains_everything(family):
    adapted = attach(load(family), FullFineTuning())
    assert adapted.trainable == adapted.total


def test_a_head_of_any_name_counts_as_fresh(tmp_path):
    assert load(make_model(tmp_path / "distilbert", "distilbert")).fresh_modules == (
        "pre_classifier",
        "classifier",
    )
    assert load(make_model(tmp_path / "roberta", "roberta")).fresh_modules == ("classifier",)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["query", "vlaue"], r"vlaue[\s\S]*matches no module[\s\S]*Did you mean `value`"),
        (["q_lin", "v_lin"], r"q_lin[\s\S]*v_lin"),
        ("attention_qv", r"Did you mean `attention-qv`"),
        (["classifier"], "matches no module"),
    ],
)
def test_a_target_that_matches_nothing_is_refused(tiny_model, targets, message):
    with pytest.raises(ConfigError, match=message):
        attach(load(tiny_model), peft.LoraConfig(target_modules=targets))
