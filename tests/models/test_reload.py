"""What is saved is what predicts: the same outputs after reload, whatever the method and its settings."""

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertModel, BertPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from finesweep.data.labels import TOKENS, LabelSchema
from finesweep.errors import ConfigError, FinesweepError
from finesweep.models import adapters, weights
from finesweep.models import loading as models
from tiny import make_model

NAMES = LabelSchema(("a", "b", "c"), ("a", "b", "c"))
TOKEN_NAMES = LabelSchema(("A", "B", "O"), ("A", "B", "O"), TOKENS)
ALL = ["query", "key", "value", "dense"]

LORA = {
    "plain": {},
    "rslora": {"use_rslora": True, "r": 4, "lora_alpha": 3},
    "dora": {"use_dora": True},
    "rank pattern": {"rank_pattern": {"query": 2}},
    "alpha pattern": {"alpha_pattern": {"query": 64}, "rank_pattern": {"value": 3}},
    "one layer": {"layers_to_transform": [1]},
    "all biases": {"bias": "all"},
    "own biases": {"bias": "lora_only"},
    "lora bias": {"lora_bias": True},
    "gaussian": {"init_lora_weights": "gaussian"},
    "orthogonal": {"init_lora_weights": "orthogonal", "r": 4},
    "pissa": {"init_lora_weights": "pissa"},
    "pissa rslora": {"init_lora_weights": "pissa_niter_4", "use_rslora": True},
    "olora": {"init_lora_weights": "olora"},
    "a module more": {"modules_to_save": ["LayerNorm"]},
    "fan in": {"fan_in_fan_out": True},
}
OTHERS = {
    "adalora": lambda: peft.AdaLoraConfig(target_modules=ALL, total_step=20, init_r=4),
    "ia3": lambda: peft.IA3Config(target_modules=[*ALL], feedforward_modules=["dense"]),
    "loha": lambda: peft.LoHaConfig(target_modules=ALL, alpha=5, rank_pattern={"query": 2}),
    "lokr": lambda: peft.LoKrConfig(target_modules=ALL, decompose_both=True),
    "vera": lambda: peft.VeraConfig(target_modules=["query", "value"], r=8, d_initial=0.3),
    "oft": lambda: peft.OFTConfig(target_modules=["query"], oft_block_size=8, r=0),
    "boft": lambda: peft.BOFTConfig(target_modules=["query"], boft_block_size=8),
    "fourierft": lambda: peft.FourierFTConfig(target_modules=["query"], n_frequency=20, scaling=3.0),
    "layer norms": lambda: peft.LNTuningConfig(target_modules=["LayerNorm"]),
    "prompt": lambda: peft.PromptTuningConfig(num_virtual_tokens=4),
    "prefix": lambda: peft.PrefixTuningConfig(num_virtual_tokens=4),
    "p-tuning": lambda: peft.PromptEncoderConfig(num_virtual_tokens=4, encoder_hidden_size=16),
    "head": adapters.HeadOnly,
    "bitfit": adapters.BitFit,
    "full": adapters.FullFineTuning,
}


def lora(settings):
    return lambda: peft.LoraConfig(**{"target_modules": ALL, **settings})


METHODS = {**{name: lora(settings) for name, settings in LORA.items()}, **OTHERS}


def logits(model, offset: int = 0) -> torch.Tensor:
    ids = torch.arange(offset, offset + 24).reshape(2, 12) + 1000
    with torch.no_grad():
        return model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits


def shaken(model):
    """Move every trained parameter, as training would."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


def reloaded(folder, schema=NAMES):
    if not (folder / "adapter" / "adapter_config.json").is_file():
        model, missing, unexpected = models.saved_classifier(folder / "adapter", schema)
        weights.check_complete(folder / "adapter", missing, unexpected)
        return model
    model, missing, _ = models.saved_classifier(folder / "backbone", schema)
    return weights.load_adapter(model, folder / "adapter", missing)


def saved(method, name, folder, schema=NAMES):
    """Return the outputs of a trained model, and leave its folder."""
    classifier = models.load_classifier(name=str(name), schema=schema)
    adapted = adapters.attach(classifier, method)
    expected = logits(shaken(adapted.model))
    adapted.save(folder / "adapter")
    weights.link_backbone(classifier, folder / "backbone")
    return expected


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("method", "schema"),
    [(name, NAMES) for name in METHODS]
    + [(name, TOKEN_NAMES) for name in ("plain", "dora", "pissa", "full", "ia3")],
)
@pytest.mark.often(every=3)
def test_the_same_outputs_after_reload(method, schema, tiny_model, tmp_path):
    expected = saved(METHODS[method](), tiny_model, tmp_path, schema)
    torch.testing.assert_close(logits(reloaded(tmp_path, schema)), expected, rtol=1e-4, atol=1e-5)


def test_what_would_not_come_back_is_refused(tiny_model):
    classifier = models.load_classifier(name=str(tiny_model), schema=NAMES)
    with pytest.raises(ConfigError, match=r"peft\.layer_replication[\s\S]*doesn't come back"):
        adapters.attach(classifier, peft.LoraConfig(target_modules=ALL, layer_replication=[[0, 2], [1, 2]]))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", ["plain", "prompt", "full"])
@pytest.mark.parametrize("damage", ["missing", "unknown"])
def test_a_weight_too_few_or_too_many_is_an_error_that_names_it(method, damage, tiny_model, tmp_path):
    saved(METHODS[method](), tiny_model, tmp_path)
    (file,) = (tmp_path / "adapter").glob("*.safetensors")
    state = load_file(file)
    name = next(name for name in state if name.endswith("classifier.weight"))
    state |= {"own_head.weight": state[name].clone()} if damage == "unknown" else {}
    if damage == "missing":
        del state[name]
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(
        FinesweepError, match="own_head.weight" if damage == "unknown" else "classifier.weight"
    ):
        reloaded(tmp_path)


class OwnHead(BertPreTrainedModel):
    """A BERT whose head is called otherwise than transformers calls it."""

    def __init__(self, config):
        super().__init__(config)
        self.bert = BertModel(config)
        self.own_head = torch.nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, **ignored):
        states = self.bert(input_ids, attention_mask=attention_mask).last_hidden_state
        return SequenceClassifierOutput(logits=self.own_head(states[:, 0]))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", ["plain", "full"])
def test_a_head_of_a_class_of_one_s_own_is_never_replaced_by_a_random_one(method, tiny_model, tmp_path):
    model = OwnHead.from_pretrained(tiny_model, num_labels=3)
    classifier = models.Classifier(model, ("own_head",), str(tiny_model), None)
    adapted = adapters.attach(classifier, METHODS[method]())
    adapted.save(tmp_path / "adapter")
    weights.link_backbone(classifier, tmp_path / "backbone")
    with pytest.raises(FinesweepError, match="own_head"):
        reloaded(tmp_path)


def headed(tiny_model, folder, names, kind="bert"):
    """Save a classifier for some labels into a folder, and return its outputs by name."""
    made = models.load_classifier(name=str(tiny_model), schema=LabelSchema(tuple(names), tuple(names)))
    made.model.save_pretrained(folder)
    return dict(zip(names, logits(made.model).T, strict=True))


@pytest.mark.parametrize("names", [("c", "a", "b"), ("a", "b", "c"), ("C", "A ", "b")])
def test_a_pretrained_head_s_rows_go_into_the_order_of_the_labels(names, tiny_model, tmp_path):
    by_name = headed(tiny_model, tmp_path, names)
    loaded = models.load_classifier(name=str(tmp_path), schema=NAMES)
    assert loaded.kept_head == "classifier"
    assert not loaded.fresh_modules
    found = dict(zip(NAMES.names, logits(loaded.model).T, strict=True))
    for name, column in by_name.items():
        torch.testing.assert_close(found[name.strip().lower()], column)


@pytest.mark.parametrize("names", [("x", "y", "z"), ("LABEL_0", "LABEL_1", "LABEL_2"), ("a", "b", "d")])
def test_a_pretrained_head_of_other_labels_starts_afresh(names, tiny_model, tmp_path):
    by_name = headed(tiny_model, tmp_path, names)
    loaded = models.load_classifier(name=str(tmp_path), schema=NAMES)
    assert loaded.fresh_modules == ("classifier",)
    assert f"its labels were {', '.join(names)}" in loaded.note
    weight = loaded.model.classifier.weight
    assert 0.005 < weight.std() < 0.05  # as BERT draws it
    assert not torch.allclose(logits(loaded.model), torch.stack([*by_name.values()], 1))


def test_numbered_labels_are_the_head_s_numbers(tiny_model, tmp_path):
    by_name = headed(tiny_model, tmp_path, ("LABEL_0", "LABEL_1", "LABEL_2"))
    loaded = models.load_classifier(name=str(tmp_path), schema=LabelSchema(("0", "1", "2"), (0, 1, 2)))
    torch.testing.assert_close(logits(loaded.model), torch.stack([*by_name.values()], 1))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("method", ["plain", "full", "head"])
@pytest.mark.parametrize("names", [("c", "a", "b"), ("p", "q", "r", "s")])
@pytest.mark.often("names0-*", "*-head-bert", "*-full-roberta")
def test_a_checkpoint_s_head_is_trained_and_comes_back(family, method, names, tmp_path):
    headed(make_model(tmp_path / "base", family), tmp_path / "headed", names)
    expected = saved(METHODS[method](), tmp_path / "headed", tmp_path)
    torch.testing.assert_close(logits(reloaded(tmp_path)), expected, rtol=1e-4, atol=1e-5)
