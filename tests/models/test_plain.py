"""A plain torch module as the model, from the config to predictions."""

import pytest
import torch
from safetensors.torch import load_file, save_file

import finesweep
from finesweep.commands.evaluate.command import evaluate
from finesweep.commands.export import Form
from finesweep.commands.export.command import export
from finesweep.commands.predict import Predictor
from finesweep.errors import ConfigError, FinesweepError, ForeignError
from finesweep.runs.layout import RunFolder
from finesweep.runs.reproduce import reproduce
from finesweep.runs.saved import SavedRun
from finesweep.runs.sealing import seal
from tiny import lines_of

CODE = """
import torch
from types import SimpleNamespace


class Bag(torch.nn.Module):
    def __init__(self, labels, width):
        super().__init__()
        self.embedding = torch.nn.Embedding(30522, width)
        self.dropout = torch.nn.Dropout(0.1)
        self.head = torch.nn.Linear(width, labels)

    def forward(self, input_ids, attention_mask):
        mask = attention_mask[..., None]
        mean = (self.embedding(input_ids) * mask).sum(1) / mask.sum(1)
        return SimpleNamespace(logits=self.head(self.dropout(mean)))


def net(*, schema, width=8, **settings):
    return Bag(len(schema.names), width)


class Narrow(Bag):
    def forward(self, input_ids):
        return self.embedding(input_ids).mean(1)[:, :1]


def narrow(*, schema, **settings):
    return Narrow(len(schema.names), 8)


class Broken(Bag):
    def forward(self, input_ids):
        raise RuntimeError("no idea")


def broken(*, schema, **settings):
    return Broken(len(schema.names), 8)
"""
NET = "plain_models_here.net"
LORA = ("peft=lora", "peft.target_modules=[embedding]", "+peft.modules_to_save=[head]")
TEXTS = ["the red number 1 is blue", "the cat is a horse"]


@pytest.fixture(autouse=True)
def code(tmp_path, monkeypatch):
    (tmp_path / "plain_models_here.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


def losses_of(result):
    return [line["train/loss"] for line in lines_of(result) if "train/loss" in line]


@pytest.fixture
def plain(finished):
    def call(*words, target=NET):
        return finished("peft=none", f"model._target_={target}", "trainer.learning_rate=0.05", *words)

    return call


@pytest.mark.parametrize("trainer", ["hf", "native"])
@pytest.mark.often("hf")
def test_it_is_trained_saved_predicted_with_evaluated_and_repeated(plain, few_resamples, trainer):
    result = plain(f"trainer={trainer}", "baseline=auto")
    state = load_file(result.folder / "adapter" / "model.safetensors")
    assert set(state) == {"embedding.weight", "head.weight", "head.bias"}
    for call in (SavedRun.open(result.folder).model, lambda: evaluate(result.folder, as_json=True)):
        with pytest.raises(ConfigError, match=rf"--trust {NET}"):
            call()
    run = SavedRun.open(result.folder, [NET])
    first, again = (Predictor(run).predict(TEXTS) for _ in range(2))
    assert first.predicted == again.predicted
    assert (first.probabilities == again.probabilities).all()
    torch.testing.assert_close(dict(run.model().module.state_dict()), state)
    found = evaluate(result.folder, trusted=(NET,), as_json=True)
    assert found.metrics["accuracy"].value == pytest.approx(result.metrics["test/accuracy"])
    assert reproduce(result.folder, trusted=(NET,))


@pytest.mark.parametrize("trainer", ["hf", "native"])
def test_a_run_goes_on_from_a_checkpoint_with_its_weights(plain, trainer):
    steady = (f"trainer={trainer}", "trainer.lr_scheduler_type=constant", "trainer.save_total_limit=9")
    longer = plain(*steady, "trainer.max_steps=6")
    checkpoint = longer.folder / "checkpoints" / "checkpoint-4"
    assert "head.weight" in load_file(checkpoint / "model.safetensors")
    more = plain(*steady, "trainer.max_steps=6", f"++trainer.resume_from_checkpoint={checkpoint}")
    assert losses_of(more) == losses_of(longer)[4:]


@pytest.mark.parametrize("trainer", ["hf", "native"])
@pytest.mark.often("native")
def test_a_lora_on_it_is_trained_read_back_and_gone_on_with(plain, trainer):
    steady = (*LORA, f"trainer={trainer}", "trainer.lr_scheduler_type=constant", "trainer.save_total_limit=9")
    result = plain(*steady)
    start = load_file(result.folder / "backbone" / "model.safetensors")
    assert set(start) == {"embedding.weight", "head.weight", "head.bias"}
    run = SavedRun.open(result.folder, [NET])
    weights = dict(run.model().get_base_model().module.named_parameters())
    torch.testing.assert_close(weights["embedding.base_layer.weight"].data, start["embedding.weight"])
    assert not torch.equal(weights["head.modules_to_save.default.weight"], start["head.weight"])
    found = evaluate(result.folder, trusted=(NET,), as_json=True)
    assert found.metrics["accuracy"].value == pytest.approx(result.metrics["test/accuracy"])
    checkpoint = result.folder / "checkpoints" / "checkpoint-2"
    more = plain(*steady, f"++trainer.resume_from_checkpoint={checkpoint}")
    assert losses_of(more) == losses_of(result)[2:]


@pytest.mark.parametrize("change", ["missing", "unexpected", "misshapen"])
def test_weights_that_do_not_fit_are_an_error(plain, change):
    result = plain("trainer=native")
    file = result.folder / "adapter" / "model.safetensors"
    state = load_file(file)
    if change == "missing":
        del state["head.bias"]
    else:
        state["head.bias" if change == "misshapen" else "tail.bias"] = torch.zeros(5)
    save_file(state, file)
    seal(RunFolder(result.folder))
    run = SavedRun.open(result.folder, [NET])
    with pytest.raises(FinesweepError, match="tail.bias" if change == "unexpected" else "head.bias"):
        run.model()


@pytest.mark.parametrize(
    ("words", "target", "error", "said"),
    [
        (("peft=lora",), NET, ConfigError, "head isn't known"),
        (("peft=lora", "+peft.modules_to_save=[head]"), NET, ConfigError, "Name its modules"),
        ((*LORA[:2], "+peft.modules_to_save=[haed]"), NET, ConfigError, "haed"),
        (("peft=loha", *LORA[1:]), NET, ConfigError, "Embedding.* not supported"),
        (("peft=head-only",), NET, ConfigError, "trained whole"),
        (("peft=prefix-tuning",), NET, ConfigError, "trained whole"),
        (("speedups=[fast-dropout]",), NET, ConfigError, "A plain torch module has none"),
        ((), "plain_models_here.narrow", ConfigError, r"logits of shape \(\d+, 3\)"),
        ((), "plain_models_here.broken", ForeignError, "no idea"),
    ],
)
@pytest.mark.often(every=2)
def test_what_it_can_not_do_is_refused_in_words(plain, words, target, error, said):
    with pytest.raises(error, match=said):
        plain(*words, target=target)


def test_it_is_exported_nowhere(plain, tmp_path):
    result = plain("trainer=native")
    with pytest.raises(FinesweepError, match="no other library can load"):
        export(result.folder, tmp_path / "out", Form.merged)
    with pytest.raises(FinesweepError, match=f"--trust {NET}"):
        finesweep.load(result.folder)
