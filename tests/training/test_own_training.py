"""Losses and monitors that are the user's own, from the config to the result."""

import json

import numpy as np
import pytest
import torch

from composing import compose_config
from finesweep.config.check import check
from finesweep.config.origin import Origin
from finesweep.config.trust import strangers
from finesweep.data.labels import IGNORED, MULTI, REGRESSION, SINGLE, TOKENS
from finesweep.errors import ConfigError, ForeignError, TrainingError
from finesweep.runs.reproduce import reproduce
from finesweep.runs.run import run
from finesweep.sweeps.fibers import run_together, wait
from finesweep.training.losses import Loss, count_labels
from finesweep.training.own_loss import own_loss
from finesweep.training.packs import Pack
from tiny import lines_of

CODE = """
import torch
from finesweep.training import Decision, Monitor
from torch.nn import functional


def plain(logits, labels, factor=1.0):
    return factor * functional.cross_entropy(logits, labels)


def each(logits, labels):
    return functional.cross_entropy(logits, labels, reduction="none")


class Focal(torch.nn.Module):
    def __init__(self, gamma):
        super().__init__()
        self.gamma = gamma

    def forward(self, logits, labels):
        losses = functional.cross_entropy(logits, labels, reduction="none")
        return losses * (1 - (-losses).exp()) ** self.gamma


class Learned(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))


def broken(logits, labels):
    raise RuntimeError("no idea")


def detached(logits, labels):
    return functional.cross_entropy(logits, labels).detach()


class Watch(Monitor):
    def __init__(self, until, file):
        self.until, self.file = until, file

    def on_log(self, step, metrics):
        metrics.clear()  # of its own copy

    def on_evaluate(self, step, metrics):
        with open(self.file, "a") as file:
            print(step, self.objective, f"validation/{self.objective}" in metrics, file=file)
        return Decision.STOP if step >= self.until else None


class Stranger:
    pass
"""
PLAIN, FOCAL = "{_target_: own_training_here.plain}", "{_target_: own_training_here.Focal, gamma: 2.0}"


@pytest.fixture(autouse=True)
def code(tmp_path, monkeypatch):
    (tmp_path / "own_training_here.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


def losses_of(result):
    return [line["train/loss"] for line in lines_of(result) if "train/loss" in line]


@pytest.mark.parametrize("trainer", ["hf", "native"])
@pytest.mark.often("native")
def test_the_problem_type_s_own_loss_written_out_trains_the_same(finished, trainer):
    words = (
        f"trainer={trainer}",
        "trainer.per_device_train_batch_size=7",
        "++trainer.gradient_accumulation_steps=2",
    )
    known = losses_of(finished(*words))
    assert losses_of(finished(*words, f"trainer.loss={PLAIN}")) == pytest.approx(known, abs=1e-6)
    assert losses_of(finished(*words, "trainer.loss={_target_: own_training_here.each}")) == pytest.approx(
        known, abs=1e-6
    )


def test_its_own_argument_counts_and_the_run_is_repeated_to_the_bit(finished):
    one = finished("trainer=native", f"trainer.loss={FOCAL}")
    other = finished("trainer=native", f"trainer.loss={FOCAL}", "trainer.loss.gamma=0")
    assert losses_of(one)[0] < losses_of(other)[0]
    trusted = ("own_training_here.Focal",)
    with pytest.raises(ConfigError, match=r"--trust own_training_here\.Focal"):
        reproduce(one.folder)
    assert reproduce(one.folder, trusted=trusted)


@pytest.mark.parametrize(
    ("kind", "logits", "labels"),
    [
        (SINGLE, (5, 3), [0, 2, IGNORED, 1, 1]),
        (MULTI, (3, 2), [[0.0, 1.0], [IGNORED, IGNORED], [1.0, 1.0]]),
        (REGRESSION, (4, 1), [0.5, -1.0, IGNORED, 2.0]),
        (TOKENS, (2, 3, 4), [[IGNORED, 1, 3], [0, IGNORED, IGNORED]]),
    ],
)
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_what_counts_for_nothing_never_reaches_it(kind, logits, labels, reduction):
    targets = {SINGLE: "cross_entropy", MULTI: "binary_cross_entropy_with_logits", REGRESSION: "mse_loss"}
    target = f"torch.nn.functional.{targets.get(kind, 'cross_entropy')}"
    own = own_loss({"_target_": target, "reduction": reduction})
    values, truth = torch.randn(logits, generator=torch.Generator().manual_seed(0)), torch.tensor(labels)
    values.requires_grad_()
    found = Loss(kind, own=own)(values, truth)
    np.testing.assert_allclose(found.item(), Loss(kind)(values, truth).sum().item(), rtol=1e-5)
    nothing = Loss(kind, own=own)(values, torch.full_like(truth, IGNORED))
    assert count_labels(torch.full_like(truth, IGNORED)) == 0
    nothing.backward()
    assert not nothing.isnan()


def test_trials_with_one_train_together_as_they_would_alone(tiny_overrides):
    words = [*tiny_overrides, "trainer=native", "peft.lora_dropout=0", f"trainer.loss={FOCAL}"]
    trials = [[*words, "trainer.loss.gamma=0"], [*words, "peft.r=2"]]
    alone = [losses_of(run(compose_config(*trial, "speedups=none"), quiet=True)) for trial in trials]
    pack, found, left = Pack(2, wait), [], iter(trials)

    def next_job():
        trial = next(left, None)
        return trial and (lambda: found.append(run(compose_config(*trial), quiet=True, pack=pack)))

    run_together(next_job, pack)
    packed = [json.loads((one.folder / "provenance.json").read_text())["speedups"] for one in found]
    assert packed == [["packed"], ["packed"]]
    assert sorted(losses_of(one)[0] for one in found) == pytest.approx(
        sorted(one[0] for one in alone), rel=0.2
    )


@pytest.mark.parametrize("trainer", ["hf", "native"])
def test_a_monitor_listens_and_may_end_the_training(finished, tmp_path, trainer):
    watch = f"{{_target_: own_training_here.Watch, until: 2, file: {tmp_path}/seen}}"
    result = finished(f"trainer={trainer}", f"monitors=[{watch}]")
    assert (tmp_path / "seen").read_text() == "2 accuracy True\n"
    assert json.loads((result.folder / "result.json").read_text())["steps"] == 2
    assert len(losses_of(result)) == 2


@pytest.mark.parametrize(
    ("word", "where", "rule"),
    [
        ("trainer.loss=focal", "trainer.loss", "names its function or its class"),
        (
            "trainer.loss={_target_: own_training_here.plian}",
            "trainer.loss._target_",
            "Did you mean `plain`?",
        ),
        ("trainer.loss={_target_: own_training_here.plain, fator: 2}", "trainer.loss.fator", "`factor`?"),
        ("trainer.loss={_target_: own_training_here.Focal, gama: 2}", "trainer.loss.gama", "`gamma`?"),
        ("monitors=[watch]", "monitors", "classes of your own"),
        ("monitors={_target_: own_training_here.Stranger}", "monitors", "It is a list."),
        ("monitors=[{_target_: own_training_here.Watch, until: 2}]", "monitors[0].file", "needs it"),
    ],
)
def test_a_mistake_is_named_before_anything_is_loaded(word, where, rule):
    with pytest.raises(ConfigError) as caught:
        check(compose_config(word), Origin(overrides=(word,)), online=False)
    fault = next(fault for fault in caught.value.faults if fault.where == where)
    assert rule in fault.rule


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (["trainer.loss={_target_: own_training_here.broken}"], ForeignError, "no idea"),
        (["trainer.loss={_target_: own_training_here.detached}"], TrainingError, "computed from the logits"),
        (["trainer.loss={_target_: own_training_here.Learned}"], ConfigError, "no optimizer would train"),
        ([f"trainer.loss={PLAIN}", "data.focal_gamma=1"], ConfigError, "finesweep's own loss"),
        ([f"trainer.loss={PLAIN}", "++trainer.label_smoothing_factor=0.1"], ConfigError, "own loss"),
        (["monitors=[{_target_: own_training_here.Stranger}]"], ConfigError, "this is a Stranger"),
    ],
)
@pytest.mark.often(every=2)
def test_what_can_t_be_one_is_refused_in_words(finished, words, error, said):
    with pytest.raises(error, match=said):
        finished(*words)


@pytest.mark.parametrize(
    "word", [f"trainer.loss={FOCAL}", "monitors=[{_target_: own_training_here.Focal, gamma: 2.0}]"]
)
def test_a_stranger_s_is_never_called(word):
    config = compose_config(word)
    with strangers(()), pytest.raises(ConfigError, match=r"--trust own_training_here\.Focal"):
        check(config, online=False)
