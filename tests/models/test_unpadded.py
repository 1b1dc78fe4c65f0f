"""A batch computed without its padding: logits and gradients are those of the padded one."""

import copy
import functools

import peft
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from finesweep.errors import ConfigError
from finesweep.models import speedups
from finesweep.models.layout import Layout
from finesweep.models.unpadded import ENCODERS

FAMILIES = tuple(ENCODERS)
PAD, VOCABULARY, LABELS = 1, 40, 3
HEADS = {"sequence": AutoModelForSequenceClassification, "token": AutoModelForTokenClassification}


def make(family, head="sequence", **more):
    """Return a tiny random model whose outputs depend much on what it reads."""
    bert = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    sizes = {
        "albert": {**bert, "embedding_size": 8},
        "deberta-v2": {**bert, "relative_attention": True, "pos_att_type": ["p2c"]},
        "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
        "electra": {**bert, "embedding_size": 8},
        "eurobert": {**bert, "num_key_value_heads": 1, "mask_token_id": 4},
        "modernbert": {**bert, "global_attn_every_n_layers": 2, "local_attention": 4},
    }
    special = {
        "pad_token_id": PAD,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "cls_token_id": 0,
        "sep_token_id": 2,
    }
    settings = {**sizes.get(family, bert), "vocab_size": VOCABULARY, "max_position_embeddings": 40, **special}
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **{**settings, "num_labels": LABELS, **more})
    model = HEADS[head].from_config(config).double().eval()
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(torch.randn_like(weights) * 0.3)
    return model


@functools.cache
def pair(family, head="sequence", **more):
    """Return a model, and a copy of it with every speed-up that it can have."""
    plain = make(family, head, **more)
    fast = copy.deepcopy(plain)
    assert "unpadded" in speedups.apply(fast, "auto")
    return plain, fast


def batch_of(mask, head="sequence", *, pairs=False, seed=0):
    generator = torch.Generator().manual_seed(seed)
    random = functools.partial(torch.randint, generator=generator)
    ids = torch.where(mask, random(3, VOCABULARY, mask.shape), PAD)
    tags = torch.where(mask, random(0, LABELS, mask.shape), -100)
    labels = tags if head == "token" else random(0, LABELS, (len(mask),))
    batch = {"input_ids": ids, "attention_mask": mask.long(), "labels": labels}
    return {**batch, "token_type_ids": random(0, 2, mask.shape) * mask} if pairs else batch


def outcome(model, batch):
    """Return the logits of every text or token, and every gradient."""
    model.zero_grad()
    output = model(**batch)
    output.loss.backward()
    logits = output.logits.detach()
    read = logits[batch["labels"] != -100] if batch["labels"].dim() == logits.dim() - 1 == 2 else logits
    return read, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same(plain, fast, batch):
    (logits, gradients), (fast_logits, fast_gradients) = outcome(plain, batch), outcome(fast, batch)
    torch.testing.assert_close(fast_logits, logits, atol=1e-9, rtol=1e-9)
    assert fast_gradients.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(fast_gradients[name], gradient, atol=1e-9, rtol=1e-9, msg=name)


def masks_of(lengths, width, side="right"):
    columns = torch.arange(width)
    starts = {"right": lambda _: 0, "left": lambda n: width - n, "both": lambda n: (width - n) // 2}[side]
    return torch.stack([(columns >= starts(n)) & (columns < starts(n) + n) for n in lengths])


RAGGED = masks_of([9, 3, 1, 11], 13)
masks = st.integers(1, 12).flatmap(
    lambda width: st.builds(
        masks_of,
        st.lists(st.integers(1, width), min_size=1, max_size=4),
        st.just(width),
        st.sampled_from(["right", "left", "both"]),
    )
)
some = settings(max_examples=5)


def rows_seen(model, batch):
    """Return how many rows each linear layer of the encoder computes."""
    seen = []
    layers = [part for name, part in model.named_modules() if "layer" in name and isinstance(part, nn.Linear)]
    hooks = [
        part.register_forward_hook(lambda _part, _inputs, output: seen.append(output.shape[:-1].numel()))
        for part in layers
    ]
    model(**batch)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("family", FAMILIES)
def test_any_batch_has_the_same_logits_and_gradients(family, head):
    has_types = family not in ("distilbert", "eurobert", "modernbert", "roberta", "xlm-roberta", "camembert")

    @some
    @given(masks, st.booleans(), st.integers(0, 9))
    def check(mask, pairs, seed):
        assert_same(*pair(family, head), batch_of(mask, head, pairs=pairs and has_types, seed=seed))

    check()


@pytest.mark.parametrize("family", FAMILIES)
def test_only_real_tokens_are_computed(family):
    _, fast = pair(family, "token")
    assert set(rows_seen(fast, batch_of(RAGGED, "token"))) == {int(RAGGED.sum())}


def test_with_first_token_the_last_layer_has_a_row_for_each_text():
    plain, fast = pair("bert")
    seen = rows_seen(fast, batch_of(RAGGED))
    assert seen == [24, 24, 24, 24, 24, 24, 4, 24, 24, 4, 4, 4]
    assert set(rows_seen(plain, batch_of(RAGGED))) == {RAGGED.numel()}


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_modernbert_s_heads(pooling):
    assert_same(*pair("modernbert", classifier_pooling=pooling), batch_of(RAGGED))


@pytest.mark.parametrize("pooling", ["mean", "bos", "late"])
def test_eurobert_s_heads(pooling):
    assert_same(*pair("eurobert", classifier_pooling=pooling), batch_of(RAGGED))


@pytest.mark.parametrize("kind", ["multi_label_classification", "regression"])
def test_other_tasks(kind):
    outputs = 1 if kind == "regression" else LABELS
    labels = torch.rand(4, outputs, dtype=torch.float64).squeeze(-1)
    models = pair("bert", problem_type=kind, num_labels=outputs)
    assert_same(*models, {**batch_of(RAGGED), "labels": labels})


def test_a_padding_token_in_a_text_counts_as_the_model_counts_it():
    batch = batch_of(RAGGED)
    batch["input_ids"][0, 4] = PAD
    assert_same(*pair("roberta"), batch)


def test_a_text_without_a_token_keeps_the_padded_shape():
    mask = RAGGED.clone()
    mask[1] = False
    assert Layout.of(mask) is None
    assert_same(*pair("bert"), batch_of(mask))


def test_little_padding_is_computed():
    mask = masks_of([30] * 5 + [29], 30)
    _, fast = pair("bert", "token")
    assert set(rows_seen(fast, batch_of(mask, "token"))) == {180}


def test_hidden_states_and_attentions_have_the_padded_shape():
    batch = batch_of(RAGGED, "token")
    plain, fast = (model(**batch, output_hidden_states=True).hidden_states for model in pair("bert", "token"))
    for one, other in zip(plain, fast, strict=True):
        torch.testing.assert_close(one, other)


METHODS = {
    "lora": peft.LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False, task_type="SEQ_CLS"),
    "ia3": peft.IA3Config(
        target_modules=["query", "output.dense"], feedforward_modules=["output.dense"], task_type="SEQ_CLS"
    ),
    "tokens": peft.TrainableTokensConfig(token_indices=[5, 6], task_type="SEQ_CLS"),
}


@pytest.mark.parametrize("method", METHODS)
def test_methods_whose_modules_act_on_rows(method):
    plain = peft.get_peft_model(make("bert"), copy.deepcopy(METHODS[method])).double().eval()
    fast = copy.deepcopy(plain)
    assert "unpadded" in speedups.apply(fast, "auto")
    assert_same(plain, fast, batch_of(RAGGED))
    assert list(fast.state_dict()) == list(plain.state_dict())


def test_gradient_checkpointing():
    plain, fast = (copy.deepcopy(model).train() for model in pair("bert", attention_probs_dropout_prob=0.0))
    for model in (plain, fast):
        model.activation_checkpointing_enable()
        for part in model.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.0
    assert_same(plain, fast, batch_of(RAGGED))


def test_autocast_to_bfloat16():
    plain, fast = (copy.deepcopy(model).float() for model in pair("bert"))
    with torch.autocast("cpu", torch.bfloat16):
        a, b = (model(**batch_of(RAGGED)).logits for model in (plain, fast))
    torch.testing.assert_close(a.float(), b.float(), atol=0.1, rtol=0.05)


def in_training(head="token", p=0.3):
    _, fast = pair("bert", head, hidden_dropout_prob=p, attention_probs_dropout_prob=p)
    return copy.deepcopy(fast).train()


def test_a_seed_s_bits_are_the_same_again():
    model, found = in_training("sequence"), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(outcome(model, batch_of(RAGGED)))
    assert torch.equal(found[0][0], found[1][0])
    assert all(torch.equal(a, b) for a, b in zip(found[0][1].values(), found[1][1].values(), strict=True))
    assert not torch.equal(found[0][0], found[2][0])


def test_dropout_keeps_its_share_of_each_token_by_itself():
    """Of what the embeddings give, and of what attention weighs: seen where every value is one."""
    model, seen = in_training(), []
    model.base_model.embeddings.dropout.register_forward_hook(
        lambda _part, inputs, output: seen.append((output / inputs[0] * 0.7)[0])
    )
    torch.manual_seed(0)
    with torch.no_grad():
        for _ in range(60):
            model(**batch_of(RAGGED, "token"))
    kept = (torch.stack(seen) > 0.5).double()  # (times, tokens, size)
    assert kept.shape[1] == RAGGED.sum()
    assert kept.mean() == pytest.approx(0.7, abs=4 * (0.21 / kept.numel()) ** 0.5)
    one, next_one = kept[:, :-1] - 0.7, kept[:, 1:] - 0.7
    assert abs((one * next_one).mean()) < 4 * 0.21 / one.numel() ** 0.5


def test_attention_s_dropout_differs_between_texts():
    model = in_training("sequence")
    mask = masks_of([9, 9, 9, 2], 9)
    batch = batch_of(mask)
    batch["input_ids"][1] = batch["input_ids"][2] = batch["input_ids"][0]
    for name, part in model.named_modules():
        if isinstance(part, nn.Dropout) and "attention.self" not in name:
            part.p = 0.0
    logits = model(**batch).logits
    assert not torch.allclose(logits[0], logits[1])
    assert not torch.allclose(logits[1], logits[2])


def test_names_are_put_on_in_any_order():
    model = make("bert")
    names = ["unpadded", "first-token", "fast-dropout"]
    assert speedups.apply(model, names) == tuple(names)
    assert_same(make("bert"), model, batch_of(RAGGED))


def test_by_itself_it_attends_as_the_model_did():
    model = make("bert")
    assert speedups.apply(model, ["unpadded"]) == ("unpadded",)
    assert_same(make("bert"), model, batch_of(RAGGED))


def test_what_auto_may_choose_from_can_be_limited():
    assert speedups.apply(make("bert"), "auto", ["first-token", "gone"]) == ("first-token",)


@pytest.mark.parametrize(
    ("make_it", "reason"),
    [
        (lambda: make("deberta-v2"), "in a deberta-v2 on this machine: its attention isn't known"),
        (lambda: make("bert", attn_implementation="eager"), "its attention is eager"),
        (lambda: make("bert", chunk_size_feed_forward=4), "in chunks"),
        (
            lambda: peft.get_peft_model(
                make("bert"), peft.PromptTuningConfig(num_virtual_tokens=2, task_type="SEQ_CLS")
            ),
            "PROMPT_TUNING doesn't compute each token by itself",
        ),
    ],
)
def test_models_that_need_the_padded_shape_keep_it(make_it, reason):
    model = make_it()
    assert "unpadded" not in speedups.apply(model, "auto")
    with pytest.raises(ConfigError, match=reason):
        speedups.apply(model, ["unpadded"])


@given(masks)
def test_a_layout_goes_both_ways(mask):
    layout = Layout.of(mask, least_padding=0)
    values = torch.arange(mask.numel()).reshape(mask.shape) + 1
    kept = mask.clone()
    kept[:, 0] = True
    assert layout is not None
    assert torch.equal(layout.flattened(values)[0], values[kept])
    assert torch.equal(layout.padded(layout.flattened(values)[..., None])[..., 0], values * kept)
    assert torch.equal(layout.padded(values[None, :, :1])[:, 0], values[:, :1]) or len(mask) == kept.sum()
    heads = layout.flattened(values)[:, None, :, None]
    padded = layout.heads_padded(heads)
    assert padded.shape == (len(mask), 1, layout.longest, 1)
    assert torch.equal(layout.heads_flattened(padded.transpose(1, 2)), heads.transpose(1, 2))
    assert torch.equal(layout.flattened(values)[0, layout.firsts], values[:, 0])
