"""The contract that both trainers keep, on a tiny model; and that the two are one and the same."""

import json
import os
import shutil
import signal
import traceback
from collections.abc import Callable
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from pyarrow import parquet
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from transformers.trainer_utils import SchedulerType

from finesweep.config.rules import SCHEDULE_NEEDS
from finesweep.errors import ConfigError, DataError, Interrupted, TrainingError
from finesweep.runs.layout import RunFolder
from finesweep.training import Decision, Monitor, TrainingTask
from finesweep.training.checkpoints import newest_valid
from tiny import lines_of, make_model, task

TRAINERS = ("hf", "native")
# An epoch has five micro-batches, of which the last has 8 rows and is a step alone: 14 steps are 24
# micro-batches, and end within an epoch.
STEPS = ("trainer.max_steps=14", "trainer.eval_steps=3", "trainer.gradient_accumulation_steps=2",
         "trainer.per_device_train_batch_size=10", "trainer.learning_rate=0.01", "trainer.save_total_limit=5",
         "test=false")  # fmt: skip


@pytest.fixture(params=TRAINERS)
def trained(request, finished) -> Callable:
    """Return a function that runs the tiny config with one of the trainers."""
    return lambda *overrides, **keywords: finished(f"trainer={request.param}", *overrides, **keywords)


@pytest.fixture
def both(finished):
    """Return a function that runs the same config with each trainer."""
    return lambda *overrides: [finished(f"trainer={trainer}", *overrides) for trainer in TRAINERS]


@pytest.fixture(scope="module")
def without_dropout(tmp_path_factory):
    """Return the overrides of a model that has no randomness in it."""
    folder = tmp_path_factory.mktemp("tiny-no-dropout")
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return [f"model.name={make_model(folder, 'bert', **dropout)}", "peft.lora_dropout=0"]


class Recorder(Monitor):
    """Write down what is heard, and answer with `decision` from the second evaluation on."""

    def __init__(self, decision=Decision.CONTINUE):
        self.events, self.decision = [], decision

    def on_begin(self, num_steps):
        self.events.append(("begin", num_steps))

    def on_log(self, step, metrics):
        self.events.append(("log", step, *sorted(metrics)))

    def on_evaluate(self, step, metrics):
        self.events.append(("evaluate", step))
        assert {"validation/loss", "validation/accuracy"} <= set(metrics)
        return self.decision if step > 2 else Decision.CONTINUE

    def on_checkpoint(self, path):
        self.events.append(("checkpoint", int(path.name.removeprefix("checkpoint-"))))
        assert (path / "manifest.json").is_file()


def losses_of(result):
    return [line["train/loss"] for line in lines_of(result) if "train/loss" in line]


def record_of(result):
    """Return all that two equal runs have in common: every metric, and the saved bytes."""
    metrics = [{k: v for k, v in line.items() if k != "time"} for line in lines_of(result)]
    weights = (result.folder / "adapter" / "adapter_model.safetensors").read_bytes()
    return metrics, result.metrics, weights


def probabilities(result, split="validation"):
    columns = parquet.read_table(result.folder / "predictions" / f"{split}.parquet").to_pydict()
    return np.array([values for name, values in columns.items() if name.startswith("p/")]).T


def test_monitors_hear_everything_in_order(trained):
    recorder = Recorder()
    trained("trainer.max_steps=3", monitors=[recorder])
    logged = ("epoch", "train/grad_norm", "train/learning_rate", "train/loss")
    expected = [
        ("begin", 3), ("log", 1, *logged), ("log", 2, *logged), ("evaluate", 2), ("log", 3, *logged),
        ("evaluate", 3), ("checkpoint", 2), ("checkpoint", 3),
    ]  # fmt: skip
    assert [event for event in recorder.events if "test/loss" not in event] == expected


@pytest.mark.parametrize("decision", [Decision.STOP, Decision.PRUNE])
@pytest.mark.often("hf-1", "native-2")
def test_a_monitor_can_end_the_training(trained, decision):
    result = trained("trainer.max_steps=8", monitors=[Recorder(decision)])
    assert max(line["step"] for line in lines_of(result)) == 4
    pruned = decision is Decision.PRUNE
    assert result.state == ("pruned" if pruned else "complete")
    assert json.loads((result.folder / "status.json").read_text())["state"] == result.state
    assert any(name.startswith("test/") for name in result.metrics) is not pruned
    best = json.loads((result.folder / "result.json").read_text())["objective"]["step"]
    values = {line["step"]: line for line in lines_of(result) if "validation/loss" in line}
    assert result.metrics["validation/accuracy"] == pytest.approx(values[best]["validation/accuracy"])


@pytest.mark.often("hf")
def test_a_regression_s_losses_are_in_the_target_s_own_units(
    trained, tiny_overrides, tmp_path, without_dropout
):
    """A model that has learned nothing is off by about the targets' deviation, 10.5 * sqrt(2 / 3)."""
    _, words = task("regression", tiny_overrides, tmp_path)
    result = trained(*words, *without_dropout, "trainer.learning_rate=0", "trainer.max_steps=12")
    loss, error = result.metrics["validation/loss"], result.metrics["validation/mse"]
    assert loss == pytest.approx(error, rel=1e-4)
    assert np.mean(losses_of(result)) == pytest.approx(10.5**2 * 2 / 3, rel=0.5)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("token-classification", ["tokenizer.max_length=8", "tokenizer.padding=multiple"]),
        ("single-label", ["tokenizer=windows", "tokenizer.max_length=8", "tokenizer.stride=2"]),
    ],
)
@pytest.mark.often("hf-token*", "native-single*")
def test_splits_of_unlike_windows_are_each_measured_by_their_own(
    trained, tiny_overrides, tmp_path, kind, more
):
    rows, words = task(kind, tiny_overrides, tmp_path)
    more = [*more, "data.split.validation=0.3", "data.split.test=0.1", "trainer.max_steps=2"]
    result = trained(*words, *more)
    assert {"validation", "test"} <= {name.partition("/")[0] for name in result.metrics}
    counts = [
        parquet.read_metadata(result.folder / "predictions" / f"{split}.parquet").num_rows
        for split in ("validation", "test")
    ]
    assert counts == [0.3 * len(rows), 0.1 * len(rows)]


@pytest.mark.often("native")
def test_the_best_evaluation_is_saved_also_where_fewer_steps_are(trained):
    """Nothing is learned, so that the first of three evaluations stays the best."""
    words = [
        "trainer.learning_rate=0",
        "trainer.max_steps=6",
        "trainer.eval_steps=2",
        "+trainer.save_steps=6",
    ]
    folder = trained(*words).folder
    assert {path.name for path in (folder / "checkpoints").glob("checkpoint-*")} == {
        "checkpoint-2",
        "checkpoint-6",
    }
    folder = trained(*words, "+trainer.load_best_model_at_end=false").folder
    assert [path.name for path in (folder / "checkpoints").glob("checkpoint-*")] == ["checkpoint-6"]
    assert newest_valid(folder / "checkpoints")


def test_labels_that_end_like_timings_keep_their_metrics(trained, tiny_overrides, tmp_path):
    _, words = task("single-label", tiny_overrides, tmp_path)
    file = tmp_path / "rows.jsonl"
    file.write_text(file.read_text().replace('"label": "red"', '"label": "full_time"'))
    result = trained(*words, "data.metrics=[f1_per_class]", "objective.metric=loss",
                     "objective.direction=minimize")  # fmt: skip
    assert any("validation/f1/full_time" in line for line in lines_of(result))


def test_training_stops_early_when_nothing_improves(trained):
    result = trained(
        "trainer.max_steps=12", "trainer.learning_rate=0", "trainer.early_stopping_patience=2",
    )  # fmt: skip
    steps = [line["step"] for line in lines_of(result) if "validation/accuracy" in line]
    assert steps == [2, 4, 6]
    assert result.state == "complete"


def test_the_best_checkpoint_is_what_is_saved_and_evaluated(trained):
    """A rate that ruins the model after its first evaluation: the last weights must not win."""
    result = trained(
        "trainer.max_steps=12", "trainer.eval_steps=3", "trainer.learning_rate=3", "objective.metric=loss",
        "objective.direction=minimize", "trainer.lr_scheduler_type=constant", "trainer.max_grad_norm=100",
    )  # fmt: skip
    values = {line["step"]: line["validation/loss"] for line in lines_of(result) if "validation/loss" in line}
    best = min(values, key=values.get)
    assert json.loads((result.folder / "result.json").read_text())["objective"]["step"] == best
    assert result.objective == pytest.approx(values[best], abs=1e-5)
    assert len(set(values.values())) == len(values) == 4
    assert best != 12


def test_the_best_checkpoint_by_another_metric_than_the_objective_is_that_metric_s_best(trained):
    """The loss falls at first: of its evaluations the first is the worst, and accuracy is to be maximised."""
    result = trained(
        "trainer.max_steps=6", "+trainer.metric_for_best_model=loss", "trainer.learning_rate=0.005"
    )
    values = {line["step"]: line["validation/loss"] for line in lines_of(result) if "validation/loss" in line}
    best = min(values, key=values.get)
    assert best != min(values)
    assert json.loads((result.folder / "result.json").read_text())["objective"]["step"] == best


@pytest.mark.often("native")
def test_an_accumulated_batch_is_the_larger_batch(trained, without_dropout):
    """With 48 rows, every third batch of 20 holds 8; in micro-batches of 5, that is 5 and 3."""
    words = [*without_dropout, "trainer.max_steps=9", "trainer.learning_rate=0.01"]
    whole = trained(*words, "trainer.per_device_train_batch_size=20")
    parts = trained(*words, "trainer.per_device_train_batch_size=5", "trainer.gradient_accumulation_steps=4")
    assert losses_of(parts) == pytest.approx(losses_of(whole), abs=1e-5)
    np.testing.assert_allclose(probabilities(parts), probabilities(whole), atol=1e-5)


def test_both_trainers_are_the_same(both, without_dropout):
    words = [*without_dropout, "trainer.max_steps=50", "trainer.eval_steps=25", "trainer.learning_rate=0.005",
             "trainer.weight_decay=0.1", "+trainer.label_smoothing_factor=0.1"]  # fmt: skip
    hf, native = both(*words)
    assert len(losses_of(hf)) == 50
    assert losses_of(native) == pytest.approx(losses_of(hf), abs=1e-5)
    np.testing.assert_allclose(probabilities(native), probabilities(hf), atol=1e-5)
    np.testing.assert_allclose(probabilities(native, "test"), probabilities(hf, "test"), atol=1e-5)
    assert {path.name for path in native.folder.iterdir()} == {path.name for path in hf.folder.iterdir()}
    assert [sorted(line) for line in lines_of(native)] == [sorted(line) for line in lines_of(hf)]
    assert losses_of(hf)[-1] < 0.9 * losses_of(hf)[0], "the comparison needs a model that learns"


@pytest.mark.parametrize("strategy", ["random", "group_by_length", "sequential"])
@pytest.mark.often("random", "group_by_length")
def test_both_trainers_see_the_same_batches(both, without_dropout, strategy):
    words = [f"+trainer.train_sampling_strategy={strategy}", "trainer.max_steps=7"]
    hf, native = both(*without_dropout, *words, "trainer.per_device_train_batch_size=10")
    assert losses_of(native) == pytest.approx(losses_of(hf), abs=1e-6)


def test_both_trainers_count_epochs_alike(both):
    hf, native = ([line["epoch"] for line in lines_of(run) if "epoch" in line] for run in both(*STEPS))
    assert native == pytest.approx(hf, abs=1e-9)
    assert native[:3] == pytest.approx([0.4, 0.8, 1.0])


@pytest.mark.often("native")
def test_a_seed_of_the_trainer_s_own_changes_its_dropout(trained):
    """The order of the rows has a seed beside it, which stays."""
    words = ["trainer.max_steps=3", "+trainer.data_seed=0"]
    first, again, other = (losses_of(trained(*words, f"+trainer.seed={seed}")) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.often("native")
def test_batches_that_are_not_full_are_left_out_of_training_alone(trained):
    """Of 48 rows, 9 batches of 5; the 6 of validation and of test are one batch that isn't full."""
    words = ["+trainer.dataloader_drop_last=true", "trainer.eval_strategy=epoch", "trainer.max_steps=-1"]
    result = trained(*words, "trainer.num_train_epochs=1", "trainer.per_device_train_batch_size=5")
    assert [line["step"] for line in lines_of(result) if "validation/accuracy" in line] == [9]
    assert len(probabilities(result)) == len(probabilities(result, "test")) == 6
    with pytest.raises(ConfigError, match="don't fill one batch of 64"):
        trained(*words, "trainer.per_device_train_batch_size=64")


def test_evaluating_by_epochs_evaluates_each_once(trained):
    result = trained("trainer.eval_strategy=epoch", "trainer.max_steps=-1", "trainer.num_train_epochs=2")
    steps = [line["step"] for line in lines_of(result) if "validation/accuracy" in line]
    assert steps == [6, 12]


@pytest.mark.often("hf")
def test_half_precision(trained, without_dropout):
    words = [*without_dropout, "trainer.learning_rate=0.01"]
    full, half = losses_of(trained(*words)), losses_of(trained(*words, "+trainer.bf16=true"))
    assert half == pytest.approx(full, abs=0.02)
    assert half != full


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU can do it")
def test_a_precision_that_the_machine_lacks_is_a_config_error(trained, monkeypatch):
    with pytest.raises(ConfigError, match="fp16"):
        trained("+trainer.fp16=true")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    with pytest.raises(ConfigError, match=r"accelerate.s mixed_precision\s+Training in fp16"):
        trained()


def test_a_model_in_shards_is_refused(trained, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ConfigError, match="FSDP"):
        trained()


@pytest.mark.parametrize(
    "word",
    [
        "+trainer.gradient_checkpointing=true",
        "+trainer.dataloader_num_workers=1",
        "+trainer.torch_compile_backend=eager",
    ],
)
@pytest.mark.often("native*")
def test_what_changes_the_cost_of_a_step_leaves_the_losses_alone(trained, without_dropout, word):
    plain, changed = trained(*without_dropout), trained(*without_dropout, word)
    assert losses_of(changed) == pytest.approx(losses_of(plain), abs=1e-6)


@pytest.mark.often("native")
def test_losses_are_the_same_without_the_padding(trained, without_dropout, tiny_csv):
    lines = tiny_csv.read_text().splitlines()
    longer = [line.replace("number", "number " * (i % 7)) for i, line in enumerate(lines)]
    tiny_csv.write_text("\n".join(longer))
    plain, changed = (
        trained(*without_dropout, f"speedups={names}") for names in ("none", "[first-token,unpadded]")
    )
    assert losses_of(changed) == pytest.approx(losses_of(plain), abs=1e-6)
    np.testing.assert_allclose(probabilities(changed), probabilities(plain), atol=1e-6)


def test_an_optimizer_and_a_schedule_of_the_user_s_own(trained, without_dropout):
    optimizer = "+trainer.optimizer={_target_: torch.optim.SGD, _partial_: true, momentum: 0.9}"
    schedule = (
        "+trainer.lr_scheduler={_target_: torch.optim.lr_scheduler.ConstantLR, _partial_: true, factor: 0.25}"
    )
    result = trained(*without_dropout, optimizer, schedule, "trainer.learning_rate=0.4")
    assert rates_of(result) == pytest.approx([0.1] * 4)


def rates_of(result):
    return [line["train/learning_rate"] for line in lines_of(result) if "train/learning_rate" in line]


def test_a_schedule_that_follows_the_metric_steps_at_evaluations(both):
    """The metric stays as it is, so after the first evaluation each one halves the rate."""
    words = ["trainer.eval_steps=1", "trainer.lr_scheduler_type=reduce_lr_on_plateau",
             "trainer.learning_rate=1e-9",
             "+trainer.lr_scheduler_kwargs={factor: 0.5, patience: 0, eps: 0}"]  # fmt: skip
    hf, native = both(*words)
    assert rates_of(hf) == rates_of(native) == pytest.approx([1e-9, 1e-9, 5e-10, 2.5e-10])


def test_a_metric_that_gets_better_keeps_its_rate(both):
    """Accuracy is better when it is higher, which a schedule doesn't know by itself."""
    words = ["objective.metric=accuracy", "trainer.max_steps=18", "trainer.eval_steps=6",
             "trainer.lr_scheduler_type=reduce_lr_on_plateau", "trainer.learning_rate=0.01",
             "+trainer.lr_scheduler_kwargs={factor: 0.5, patience: 0}"]  # fmt: skip
    for result in both(*words):
        values = [line["validation/accuracy"] for line in lines_of(result) if "validation/accuracy" in line]
        better = [after > before for before, after in pairwise(values)]
        assert any(better), "the test needs a model that learns"
        drops = [b < a for a, b in pairwise([rates_of(result)[step] for step in (0, 6, 12)])]
        assert drops == [False, not better[0]]


@pytest.mark.parametrize("schedule", list(SchedulerType))
@pytest.mark.often(every=3)
def test_every_schedule_runs_or_is_refused(trained, schedule):
    words = [f"trainer.lr_scheduler_type={schedule.value}", "trainer.max_steps=2", "trainer.eval_steps=1",
             "test=false"]  # fmt: skip
    if schedule.value in SCHEDULE_NEEDS:
        with pytest.raises(ConfigError, match=rf"{schedule.value}[\s\S]*lr_scheduler_kwargs"):
            trained(*words)
    else:
        assert len(rates_of(trained(*words))) == 2


def test_what_a_schedule_doesn_t_take_is_a_config_error(trained):
    with pytest.raises(ConfigError, match=r"lr_scheduler_kwargs[\s\S]*num_cycls"):
        trained("trainer.lr_scheduler_type=cosine", "+trainer.lr_scheduler_kwargs={num_cycls: 1}")


@pytest.mark.often("native")
def test_loraplus_lets_b_learn_faster(trained, without_dropout):
    words = [*without_dropout, "trainer.max_steps=1", "trainer.eval_steps=1", "trainer.warmup_steps=0"]

    def largest(result):
        from safetensors.torch import load_file

        weights = load_file(result.folder / "adapter" / "adapter_model.safetensors")
        return max(weight.abs().max().item() for name, weight in weights.items() if "lora_B" in name)

    plain, faster = trained(*words), trained(*words, "+trainer.loraplus_lr_ratio=16")
    assert largest(faster) == pytest.approx(16 * largest(plain), rel=1e-3)
    with pytest.raises(ConfigError, match="LoRA"):
        trained("peft=none", "+trainer.loraplus_lr_ratio=16")


class WatchedSGD(torch.optim.SGD):
    """An optimizer of the user's own; it keeps the settings of the groups that it was made for."""

    made: ClassVar[list[list[dict[str, Any]]]] = []

    def __init__(self, groups, **settings):
        super().__init__(groups, **settings)
        self.made.append([{**group} for group in self.param_groups])


@pytest.fixture
def made():
    """Return what is kept of each optimizer that a test makes."""
    WatchedSGD.made.clear()
    return WatchedSGD.made


@pytest.mark.often("hf")
def test_loraplus_is_done_with_the_optimizer_of_the_user_s_own(trained, without_dropout, made):
    """Its settings count, the rate too."""
    sgd = f"{{_target_: {__name__}.WatchedSGD, _partial_: true, momentum: 0.5"
    words = [*without_dropout, "trainer.max_steps=1", "trainer.eval_steps=1", "trainer.warmup_steps=0",
             "+trainer.loraplus_lr_ratio=16", "trainer.learning_rate=0.01"]  # fmt: skip
    trained(*words, f"+trainer.optimizer={sgd}}}")
    trained(*words, f"+trainer.optimizer={sgd}, lr: 0.1}}")
    assert [sorted({(group["lr"], group["momentum"]) for group in groups}) for groups in made] == [
        [(1e-6, 0.5), (0.01, 0.5), (0.16, 0.5)], [(1e-6, 0.5), (0.1, 0.5), (1.6, 0.5)],
    ]  # fmt: skip


@pytest.mark.parametrize("more", [(), ("+trainer.loraplus_lr_ratio=16",)])
@pytest.mark.often("native-*")
def test_the_decay_of_an_optimizer_of_the_user_s_own_counts(trained, made, more):
    """Where it says so itself; of weights alone, not of biases."""
    words = ["trainer.max_steps=1", "trainer.eval_steps=1", "trainer.weight_decay=0.1", "test=false", *more]
    for decay in (", weight_decay: 0.3", ""):
        trained(*words, f"+trainer.optimizer={{_target_: {__name__}.WatchedSGD, _partial_: true{decay}}}")
    decays = [{group["weight_decay"] for group in groups if group["params"]} for groups in made]
    assert decays == [{0.3, 0.0}, {0.1, 0.0}]


@pytest.mark.parametrize("speedups", ["none", "auto"])
@pytest.mark.often("hf-auto", "native-none")
def test_dropout_is_on_while_training_and_off_while_evaluating(trained, without_dropout, speedups):
    """The two models have the same weights, so only dropout can tell them apart; also after an evaluation."""
    words = ["trainer.learning_rate=0", f"speedups={speedups}", "trainer.max_steps=5"]
    dropping, plain = trained(*words), trained(*words, *without_dropout)
    gaps = [abs(a - b) for a, b in zip(losses_of(dropping), losses_of(plain), strict=True)]
    assert min(gaps) > 1e-5
    np.testing.assert_allclose(probabilities(dropping), probabilities(plain), atol=1e-6)


def test_the_best_checkpoint_needs_a_metric_that_there_is(trained):
    with pytest.raises(ConfigError, match=r"metric_for_best_model = acuracy[\s\S]*`accuracy`"):
        trained("+trainer.metric_for_best_model=acuracy")


def test_rows_without_labels_are_refused(tmp_path):
    from datasets import Dataset

    rows = Dataset.from_dict({"input_ids": [[1, 2]], "labels": [0]})
    parts = {"collator": None, "compute_metrics": None, "objective": "accuracy", "maximize": True, "seed": 0}
    with pytest.raises(DataError, match="validation split has no labels"):
        TrainingTask(
            None, rows, rows.remove_columns("labels"), checkpoints=tmp_path, monitors=Monitor(), **parts
        )


def test_a_key_that_native_lacks_is_an_error(finished):
    with pytest.raises(ConfigError, match="trainer=hf has"):
        finished("trainer=native", "+trainer.neftune_noise_alpha=5")
    with pytest.raises(ConfigError, match="Did you mean `warmup_steps`"):
        finished("trainer=native", "+trainer.warmup_stps=5")


class PowerCut(BaseException):
    """The process is gone: nothing more is written."""


def interrupted_at(monkeypatch, batch: int, way: str):
    """Let the process be told to stop, or be cut off, while it computes a training batch."""
    plain, seen = functional.cross_entropy, [0]

    def cross_entropy(*arguments, **keywords):
        if torch.is_grad_enabled():
            seen[0] += 1
            if seen[0] == batch and way == "SIGTERM":
                os.kill(os.getpid(), signal.SIGTERM)
            elif seen[0] == batch:
                raise PowerCut
        return plain(*arguments, **keywords)

    monkeypatch.setattr(functional, "cross_entropy", cross_entropy)


@pytest.fixture(scope="module")
def undisturbed():
    """Remember what a config comes to when nothing happens."""
    return {}


# The first three of them in `make test`, the others in `make test-faults`.
POINTS = [int(point) + 1 for point in np.random.default_rng(20).permutation(24)[:20]]
POINTS = [*POINTS[:3], *(pytest.param(point, marks=pytest.mark.campaign) for point in POINTS[3:])]


@pytest.mark.parametrize("batch", POINTS)
@pytest.mark.often("native-3", "hf-23")
def test_resumed_equals_uninterrupted(trained, monkeypatch, undisturbed, request, tmp_path, batch):
    """Random stopping points: each of the 24 micro-batches is as likely, mid-epoch or not."""
    way = "SIGTERM" if batch % 2 else "power cut"
    words = [*STEPS, f"+trainer.train_sampling_strategy={'group_by_length' if batch % 3 == 0 else 'random'}"]
    key = (request.node.callspec.params["trained"], words[-1])
    if key not in undisturbed:
        undisturbed[key] = record_of(trained(*words))
    folder = RunFolder.create(tmp_path, "cut")
    with monkeypatch.context() as patch:
        interrupted_at(patch, batch, way)
        with pytest.raises(Interrupted if way == "SIGTERM" else PowerCut):
            trained(*words, folder=folder)
    steps = {line["step"] for line in lines_of_folder(folder)}
    assert max(steps, default=0) < 14 or batch >= 23
    assert record_of(trained(*words, folder=folder)) == undisturbed[key]


@pytest.mark.parametrize(
    "word",
    [
        *(f"peft={method}" for method in ("adalora", "pissa", "shira", "p-tuning", "prefix-tuning")),
        "trainer.lr_scheduler_type=reduce_lr_on_plateau",
        "trainer.logging_steps=4",
    ],
)
@pytest.mark.often("hf-peft=adalora", "native-peft=pissa")
def test_what_has_a_state_of_its_own_resumes_too(trained, monkeypatch, tmp_path, word):
    words = [*STEPS, "trainer.max_steps=9", word]
    expected = record_of(trained(*words))
    folder = RunFolder.create(tmp_path, "cut")
    with monkeypatch.context() as patch:
        interrupted_at(patch, 9, "SIGTERM")
        with pytest.raises(Interrupted):
            trained(*words, folder=folder)
    assert record_of(trained(*words, folder=folder)) == expected


@pytest.mark.often("native")
def test_a_run_that_was_cut_off_when_its_patience_ended_trains_no_further(trained, monkeypatch, tmp_path):
    words = [*STEPS, "trainer.early_stopping_patience=1", "trainer.early_stopping_threshold=9"]
    expected = record_of(trained(*words))
    folder = RunFolder.create(tmp_path, "cut")
    with monkeypatch.context() as patch:
        interrupted_at(patch, 10, "SIGTERM")  # in step 6, the second evaluation
        with pytest.raises(Interrupted):
            trained(*words, folder=folder)
    assert record_of(trained(*words, folder=folder)) == expected
    assert max(line["step"] for line in lines_of_folder(folder)) == 6


@pytest.mark.often("native")
def test_adalora_takes_ranks_away_and_saves_what_it_predicts_with(trained):
    from safetensors.torch import load_file

    result = trained("peft=adalora", "peft.target_r=2", "trainer.max_steps=20", "trainer.eval_steps=20")
    state = load_file(result.folder / "adapter" / "adapter_model.safetensors")
    ranks = [int((tensor != 0).sum()) for name, tensor in state.items() if "lora_E" in name]
    assert sum(ranks) == 2 * len(ranks)


def lines_of_folder(folder):
    return [json.loads(line) for line in folder.metrics.read_text().splitlines()]


FILES = {
    "hf": ("adapter_model.safetensors", "adapter_config.json", "optimizer.pt", "scheduler.pt",
           "rng_state.pth", "trainer_state.json", "trainer.pt", "manifest.json"),
    "native": ("adapter_model.safetensors", "adapter_config.json", "trainer.pt", "manifest.json"),
}  # fmt: skip
DAMAGES = [
    (trainer, file, kind)
    for trainer, files in FILES.items()
    for file in files
    for kind in ("missing", "truncated", "one bit flipped")
] + [
    *(("native", file, "emptied") for file in FILES["native"]),
    *(("native", file, "another's") for file in FILES["native"] if file != "adapter_config.json"),
]  # an adapter's config is the same in every checkpoint
assert min(sum(trainer == name for name, *_ in DAMAGES) for trainer in TRAINERS) >= 18


# What isn't weights: optimizer, schedule and random states.
STATES = {"hf": ("optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer.pt"), "native": ("trainer.pt",)}
TEXT = (".json", ".jsonl", ".yaml", ".log", ".parquet", ".txt", ".md")


@pytest.fixture(scope="module")
def cut_off():
    """Remember a run that was cut off after two checkpoints, for each trainer."""
    return {}


@pytest.fixture
def damaged(finished, monkeypatch, cut_off, tmp_path, tmp_path_factory):
    """Return a function that damages a file of a cut-off run's last checkpoint and returns its folder."""

    def damage(trainer, file, kind):
        if trainer not in cut_off:
            cut = RunFolder.create(tmp_path_factory.mktemp("cut"), "cut")
            with monkeypatch.context() as patch:
                interrupted_at(patch, 15, "power cut")
                with pytest.raises(PowerCut):
                    finished(f"trainer={trainer}", *STEPS, folder=cut)
            cut_off[trainer] = cut.path
        folder = RunFolder(shutil.copytree(cut_off[trainer], tmp_path / "cut"))
        spoil(folder.checkpoints / "checkpoint-6" / file, kind)
        return folder

    return damage


def spoil(path, kind):
    content, middle = path.read_bytes(), path.stat().st_size // 2
    if kind == "missing":
        path.unlink()
    else:
        path.write_bytes({
            "truncated": content[:middle],
            "emptied": b"",
            "another's": (path.parents[1] / "checkpoint-3" / path.name).read_bytes(),
            "one bit flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        }[kind])  # fmt: skip


@pytest.mark.parametrize(("trainer", "file", "kind"), DAMAGES)
def test_a_damaged_checkpoint_is_passed_over(damaged, caplog, trainer, file, kind):
    folder = damaged(trainer, file, kind)
    assert newest_valid(folder.checkpoints) == folder.checkpoints / "checkpoint-3"
    assert "Passed over checkpoint-6" in caplog.text


# Each file once, and each kind of damage. Which checkpoint is taken is decided before, as tested above;
# `make test` goes on after damaged weights and a damaged manifest alone, `make test-faults` after each.
KINDS = {
    "hf": ("missing", "truncated", "one bit flipped") * 3,
    "native": ("another's", "emptied", "one bit flipped", "truncated"),
}
RESUMED = [(name, *one) for name in TRAINERS for one in zip(FILES[name], KINDS[name], strict=False)]
OFTEN = ("adapter_model.safetensors", "manifest.json")
RESUMED = [case if case[1] in OFTEN else pytest.param(*case, marks=pytest.mark.campaign) for case in RESUMED]


@pytest.mark.parametrize(("trainer", "file", "kind"), RESUMED)
@pytest.mark.often("hf-manifest.json-truncated", "native-*")
def test_a_run_goes_on_from_before_its_damaged_checkpoint(
    finished, damaged, undisturbed, caplog, trainer, file, kind
):
    if (trainer, "as it is") not in undisturbed:
        undisturbed[trainer, "as it is"] = record_of(finished(f"trainer={trainer}", *STEPS))
    folder = damaged(trainer, file, kind)
    assert (
        record_of(finished(f"trainer={trainer}", *STEPS, folder=folder)) == undisturbed[trainer, "as it is"]
    )
    assert "Passed over checkpoint-6" in folder.log.read_text() or "Passed over" in caplog.text


@pytest.mark.often("hf")
def test_only_safetensors_hold_weights_and_nothing_is_unpickled(trained, monkeypatch, tmp_path, request):
    loaded, load = [], torch.load

    def watched(file, *arguments, **keywords):
        loaded.append((str(file), keywords.get("weights_only")))
        return load(file, *arguments, **keywords)

    folder = RunFolder.create(tmp_path, "cut")
    with monkeypatch.context() as patch:
        interrupted_at(patch, 15, "power cut")
        with pytest.raises(PowerCut):
            trained(*STEPS, folder=folder)
    monkeypatch.setattr(torch, "load", watched)
    trained(*STEPS, folder=folder)
    assert loaded
    assert {weights_only for _, weights_only in loaded} == {True}
    written = {path.name for path in folder.path.rglob("*") if path.is_file() and path.stat().st_size}
    kinds = {name for name in written if not name.endswith(TEXT)}
    states = STATES[request.node.callspec.params["trained"]]
    assert kinds == {"adapter_model.safetensors", "model.safetensors", *states}


@pytest.mark.often("native")
def test_without_a_usable_checkpoint_it_takes_a_word_to_begin_anew(trained, monkeypatch, tmp_path):
    folder = RunFolder.create(tmp_path, "cut")
    with monkeypatch.context() as patch:
        interrupted_at(patch, 9, "power cut")
        with pytest.raises(PowerCut):
            trained(*STEPS, folder=folder)
    (checkpoint,) = folder.checkpoints.glob("checkpoint-*")
    (checkpoint / "manifest.json").unlink()
    with pytest.raises(TrainingError, match=r"manifest is missing[\s\S]*resume=auto"):
        trained(*STEPS, folder=folder)
    afresh = trained(*STEPS, "resume=auto", folder=folder)
    assert record_of(afresh) == record_of(trained(*STEPS))


@pytest.mark.often("native")
def test_a_run_whose_best_checkpoint_is_damaged_does_not_go_on_from_a_later_one(
    trained, monkeypatch, tmp_path
):
    """The later one needs it at the end."""
    words = [*STEPS, "trainer.learning_rate=0"]  # the first evaluation stays the best
    folder = RunFolder.create(tmp_path, "cut")
    with monkeypatch.context() as patch:
        interrupted_at(patch, 15, "power cut")
        with pytest.raises(PowerCut):
            trained(*words, folder=folder)
    next((folder.checkpoints / "checkpoint-3").glob("*.safetensors")).unlink()
    with pytest.raises(TrainingError, match="of the best one, checkpoint-3"):
        trained(*words, folder=folder)


def test_there_is_no_gradient_work_below_the_lowest_adapter(trained):
    """What enters the lowest adapted layer needs no gradient, so nothing is kept of the layers before it."""
    from transformers.models.bert.modeling_bert import BertLayer

    seen = []

    def look(layer, inputs):
        if isinstance(layer, BertLayer) and layer.training and torch.is_grad_enabled():
            weights = dict(layer.named_parameters())
            frozen = [weight for name, weight in weights.items() if "lora" not in name]
            graded = any(weight.requires_grad or weight.grad is not None for weight in frozen)
            seen.append((len(frozen) < len(weights), inputs[0].requires_grad, graded))

    handle = torch.nn.modules.module.register_module_forward_pre_hook(look)
    try:
        trained("+peft.layers_to_transform=[1]", "trainer.max_steps=2", "test=false")
    finally:
        handle.remove()
    assert seen == [(False, False, False), (True, False, False)] * 2


FETCHES = {"item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__"}
NOT_THE_LOOP_S = ("count_labels", "forward")  # labels are counted before they go there; a model's own doings


class Fetches(TorchFunctionMode):
    """Notes which functions of Python a tensor's value was fetched in, the innermost first."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_function__(self, function, _types, arguments=(), keywords=None):
        if getattr(function, "__name__", "") in FETCHES:
            self.seen.append([frame.name for frame in reversed(traceback.extract_stack())])
        return function(*arguments, **(keywords or {}))


def test_a_step_of_the_native_loop_fetches_nothing(finished):
    """Each of these would wait for a GPU. What a model does is its own: transformers asks of each batch
    whether it is padded."""
    with Fetches() as fetches:
        finished("trainer=native", "speedups=none")
    in_steps = [names for names in fetches.seen if "_update" in names]
    assert any("count_labels" in names for names in in_steps)  # or a step would be called otherwise by now
    assert [names for names in in_steps if not set(names) & set(NOT_THE_LOOP_S)] == []
