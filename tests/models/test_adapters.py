"""Methods attach where they should, and every fresh parameter is trained."""

import peft
import pytest
import torch

from finesweep.data import LabelSchema
from finesweep.errors import ConfigError
from finesweep.models.adapters import FullFineTuning, HeadOnly, attach, with_listed_targets
from finesweep.models.classifier import Classifier
from finesweep.models.loading import load_classifier
from finesweep.models.targets import LAYERS
from tiny import make_model

SCHEMA = LabelSchema(("a", "b", "c"), ("a", "b", "c"))
FAMILIES = tuple(LAYERS)
# Modules of each name in a model of two layers.
SHARED = ("albert",)
LINEAR_PRESETS = ("attention-qv", "attention-kv", "attention", "mlp", "mlp-output", "all-linear")


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


@pytest.mark.parametrize("preset", LINEAR_PRESETS)
@pytest.mark.often("bert-*", "modernbert-*", "*-all-linear")
def test_a_fresh_adapter_changes_no_output_and_trains_the_head(family, preset):
    expected = logits(load(family).model)
    classifier = load(family)
    adapted = attach(classifier, peft.LoraConfig(target_modules=preset, r=2))
    assert torch.equal(logits(adapted.model), expected)
    assert set(adapted.matched.values()) == {1 if classifier.model.config.model_type in SHARED else 2}
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
    linear = [name for name in linear if "pooler" not in name and "embedding" not in name]
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
    "targets", ["attention-qv", ["query", "value"], r".*\.(query|value)", ["attention-qv"]]
)
def test_some_layers_alone_are_adapted(tiny_model, targets):
    node = with_listed_targets({"target_modules": targets, "layers_to_transform": [1]})
    adapted = attach(load(tiny_model), peft.LoraConfig(**node, r=2))
    trained = {name for name, p in adapted.model.named_parameters() if p.requires_grad and "lora" in name}
    assert adapted.matched == {"attention.self.query": 1, "attention.self.value": 1}
    assert len(trained) == 4
    assert all("layer.1." in name for name in trained)


@pytest.mark.parametrize(
    ("family", "layers", "message"), [("bert", [2], "has layers 0 to 1"), ("albert", [0], "have no numbers")]
)
def test_layers_that_there_are_not_are_refused(tmp_path, family, layers, message):
    with pytest.raises(ConfigError, match=message):
        attach(
            load(make_model(tmp_path, family)),
            peft.LoraConfig(target_modules=["attention-qv"], layers_to_transform=layers),
        )


def test_presets_and_names_can_be_mixed(tiny_model):
    adapted = attach(load(tiny_model), peft.LoraConfig(target_modules=["attention-kv", "query"], r=2))
    assert sorted(adapted.matched) == ["attention.self.key", "attention.self.query", "attention.self.value"]


def test_what_peft_refuses_is_a_config_error(tiny_model):
    with pytest.raises(ConfigError, match="peft refuses it"):
        attach(load(tiny_model), peft.C3AConfig(target_modules="attention-qv", block_size=7))


def test_pissa_is_saved_as_a_lora_with_its_head(tiny_model, tmp_path):
    from safetensors.torch import load_file

    adapted = attach(
        load(tiny_model), peft.LoraConfig(target_modules="attention", r=2, init_lora_weights="pissa")
    )
    adapted.save(tmp_path)
    state = load_file(tmp_path / "adapter_model.safetensors")
    assert any("classifier" in name for name in state)
    assert {tensor.shape[0] for name, tensor in state.items() if "lora_A" in name} == {4}
    assert peft.LoraConfig.from_pretrained(str(tmp_path)).init_lora_weights is True
    assert adapted.saved_bytes == sum(tensor.nbytes for tensor in state.values())


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["query", "vlaue"], r"vlaue[\s\S]*matches no module[\s\S]*Did you mean `value`"),
        (["q_lin", "v_lin"], r"q_lin[\s\S]*v_lin"),
        ("attention_qv", r"Did you mean `attention-qv`"),
        (["classifier"], "matches no module"),
        ("query[", "no name, preset or regular expression"),
    ],
)
def test_a_target_that_matches_nothing_is_refused(tiny_model, targets, message):
    with pytest.raises(ConfigError, match=message):
        attach(load(tiny_model), peft.LoraConfig(target_modules=targets))


def test_a_module_to_save_that_is_not_there_is_refused(tiny_model):
    method = peft.LoraConfig(target_modules=["query"], modules_to_save=["LayerNorm", "poooler"])
    with pytest.raises(ConfigError, match=r"peft\.modules_to_save = poooler[\s\S]*LayerNorm"):
        attach(load(tiny_model), method)
