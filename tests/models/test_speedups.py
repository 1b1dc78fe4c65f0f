"""Speed-ups change how fast a step is, and nothing that a user can see."""

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from finesweep.errors import ConfigError
from finesweep.models import speedups
from finesweep.models.fast_dropout import fast_dropout
from tiny import make_model

MODELS = ("bert", "roberta", "electra", "xlm-roberta", "camembert")


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5])
def test_the_keep_rate_is_right(p):
    torch.manual_seed(0)
    kept = fast_dropout(torch.ones(2_000_000), p)
    assert abs((kept > 0).double().mean() - (1 - p)) < 1e-3
    assert kept.double().mean() == pytest.approx(1, abs=3e-3)
    assert kept.unique().numel() == 2


@pytest.mark.parametrize(("p", "kept"), [(1e-6, 1.0), (0.999999, 0.0)])
def test_a_probability_next_to_an_end_drops_nothing_or_all(p, kept):
    torch.manual_seed(0)
    assert (fast_dropout(torch.ones(1000), p) != 0).double().mean() == kept


def test_masks_are_independent_of_each_other_and_of_their_neighbours():
    torch.manual_seed(0)
    a, b = ((fast_dropout(torch.ones(1_000_000), 0.5) > 0).double() - 0.5 for _ in range(2))
    bound = 5 / 4 / 1_000_000**0.5  # five standard deviations of the mean of products
    assert abs((a * b).mean()) < bound
    for lag in (1, 2, 3, 4, 64):
        assert abs((a[lag:] * a[:-lag]).mean()) < bound


def test_masks_are_replayed_by_the_seed_and_by_the_generator_s_state():
    torch.manual_seed(3)
    first = fast_dropout(torch.ones(99), 0.3)
    state = torch.get_rng_state()
    second = fast_dropout(torch.ones(99), 0.3)
    torch.set_rng_state(state)
    assert torch.equal(fast_dropout(torch.ones(99), 0.3), second)
    torch.manual_seed(3)
    assert torch.equal(fast_dropout(torch.ones(99), 0.3), first)
    assert not torch.equal(first, second)


def test_the_gradient_is_the_mask_s():
    x = torch.randn(7, 11, requires_grad=True)
    out = fast_dropout(x, 0.4)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    torch.testing.assert_close(gradient * x, out)


def test_bfloat16_stays_bfloat16():
    assert fast_dropout(torch.ones(64, dtype=torch.bfloat16), 0.5).dtype == torch.bfloat16


@pytest.fixture(params=MODELS)
def classifier(request, tmp_path):
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(0)
    folder = make_model(tmp_path / request.param, request.param)
    return AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3)


def batch_of(model):
    torch.manual_seed(1)
    mask = torch.ones(4, 9, dtype=torch.long)
    mask[1, 5:] = mask[3, 2:] = 0
    ids = torch.randint(10, model.config.vocab_size, (4, 9)) * mask + model.config.pad_token_id * (1 - mask)
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([0, 1, 2, 1])}


def outcome(model):
    """Return logits and every gradient of one batch."""
    model.zero_grad()
    output = model(**batch_of(model))
    output.loss.backward()
    return output.logits.detach(), {
        n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None
    }


def test_the_first_token_is_enough(classifier):
    """Equal logits and gradients, in a model that drops nothing."""
    classifier.eval()
    logits, gradients = outcome(classifier)
    assert speedups.apply(classifier, ["first-token"]) == ("first-token",)
    faster_logits, faster_gradients = outcome(classifier)
    torch.testing.assert_close(faster_logits, logits, atol=1e-6, rtol=0)
    assert gradients.keys() == faster_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(faster_gradients[name], gradient, atol=1e-6, rtol=1e-4)


def test_an_attention_with_masks_of_its_own_has_all_tokens(classifier):
    classifier.config._attn_implementation = "flash_attention_2"
    assert "first-token" not in speedups.apply(classifier)


def test_the_last_layer_works_on_one_token_only(classifier):
    speedups.apply(classifier, ["first-token"])
    seen = []
    last = classifier.base_model.encoder.layer[-1]
    last.intermediate.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape))
    outcome(classifier)
    assert [shape[1] for shape in seen] == [1]


def test_what_is_saved_and_evaluated_is_as_without(classifier, tmp_path):
    classifier.eval()
    names, logits = list(classifier.state_dict()), outcome(classifier)[0]
    assert speedups.apply(classifier, "auto") == ("fast-dropout", "first-token", "unpadded")
    assert list(classifier.state_dict()) == names
    torch.testing.assert_close(outcome(classifier)[0], logits, atol=1e-6, rtol=0)
    classifier.save_pretrained(tmp_path / "saved")
    assert "finesweep" not in (tmp_path / "saved" / "config.json").read_text()


class Called(TorchFunctionMode):
    """Notes the names of torch's functions that are called."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_function__(self, function, _types, arguments=(), keywords=None):
        self.names.add(getattr(function, "__name__", ""))
        return function(*arguments, **(keywords or {}))


def nodes_of(output):
    """Return the nodes of a tensor's graph."""
    found, waiting = {}, [output.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and id(node) not in found:
            found[id(node)] = node
            waiting += [before for before, _ in node.next_functions]
    return list(found.values())


def test_every_dropout_of_a_training_step_is_a_fast_one(classifier):
    """Hidden, attention and adapter dropout: torch's own is never called."""
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(
        classifier, LoraConfig(target_modules=["query", "value"], lora_dropout=0.1)
    ).train()
    model.requires_grad_(True)  # so that the graph has all of them
    with Called() as plain:
        model(**batch_of(classifier))
    assert "dropout" in plain.names
    speedups.apply(model, ["fast-dropout"])
    with Called() as called:
        logits = model(**batch_of(classifier)).logits
    assert "dropout" not in called.names
    dropped = [node.saved_tensors[0].numel() for node in nodes_of(logits) if "FastDropout" in node.name()]
    tokens, heads, layers = 4 * 9, 2, 2
    assert dropped.count(tokens * 9 * heads) == layers  # attention
    assert dropped.count(tokens * 32) == 1 + 2 * layers + 2 * layers  # embeddings, hidden, adapters


@pytest.mark.often("bert")
def test_training_with_dropout_goes_the_same_way_on_average(classifier):
    """Expected loss over many masks: equal within its standard error."""
    classifier.train()
    for module in classifier.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.3
    batch = batch_of(classifier)
    plain = torch.stack([_loss(classifier, batch, seed) for seed in range(200)])
    speedups.apply(classifier, "auto")
    fast = torch.stack([_loss(classifier, batch, seed) for seed in range(200, 400)])
    error = (plain.var() / 200 + fast.var() / 200).sqrt()
    assert abs(plain.mean() - fast.mean()) < 4 * error
    assert fast.std() == pytest.approx(float(plain.std()), rel=0.35)


def _loss(model, batch, seed):
    torch.manual_seed(seed)
    with torch.no_grad():
        return model(**batch).loss


def test_unknown_or_impossible_speedups_are_refused(tmp_path):
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(
        make_model(tmp_path / "distilbert", "distilbert"), num_labels=2
    )
    assert speedups.apply(model, "none") == ()
    with pytest.raises(ConfigError, match="Did you mean `fast-dropout`"):
        speedups.apply(model, ["fast-dropuot"])
    with pytest.raises(ConfigError, match="no place in a distilbert"):
        speedups.apply(model, ["first-token"])
    assert speedups.apply(model, "auto") == ("fast-dropout", "unpadded")
