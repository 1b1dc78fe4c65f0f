"""Trials that train together are those that they would be alone."""

import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from composing import compose_config
from finesweep.errors import Interrupted
from finesweep.runs.run import run
from finesweep.sweeps.fibers import run_together, wait
from finesweep.training import passes
from finesweep.training.base import Decision, Monitor
from finesweep.training.packs import Pack
from finesweep.training.passes import Bench
from tiny import lines_of, make_model, task

# What may differ between the trials of a pack; they end at different steps, so that others take their places.
MIX = (
    ("peft.r=8",),
    ("peft.r=2", "trainer.learning_rate=0.03"),
    ("peft.r=4", "trainer.max_steps=9", "++trainer.weight_decay=0.3", "++trainer.lr_scheduler_type=cosine"),
    ("peft.target_modules=attention-qv", "seed=5", "++trainer.label_smoothing_factor=0.1"),
    (
        "++peft.use_rslora=true",
        "peft.r=3",
        "++trainer.warmup_steps=3",
        "++trainer.gradient_accumulation_steps=2",
    ),
    ("peft.lora_alpha=64", "++trainer.loraplus_lr_ratio=8", "trainer.max_steps=5"),
    ("++trainer.early_stopping_patience=1", "trainer.learning_rate=0", "trainer.max_steps=12"),
    ("peft.r=16", "++trainer.max_grad_norm=0.01", "++trainer.optim=sgd", "trainer.learning_rate=0.5"),
)


def double(name, schema, revision=None):
    """Load a classifier in 64 bits, in which rounding can't hide a mistake."""
    from finesweep.models import load_classifier

    classifier = load_classifier(name=name, schema=schema)
    classifier.model.double()
    return classifier


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    """Return a model without dropout."""
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return make_model(tmp_path_factory.mktemp("still"), "bert", **dropout)


@pytest.fixture
def exact(tiny_overrides, still):
    """Return the overrides of a run in 64 bits, without dropout."""
    kept = [word for word in tiny_overrides if not word.startswith("model.name=")]
    model = f"model={{_target_:{__name__}.double,name:'{still}'}}"
    return [*kept, model, "trainer=native", "peft.lora_dropout=0", "trainer.max_steps=6",
            "trainer.learning_rate=0.01"]  # fmt: skip


def alone(words, **keywords):
    return run(compose_config(*words), quiet=True, **keywords)


def together(trials, slots, monitors=None, seed=0, recorder=None):
    """Run trials in a pack, and return what became of each: a result, or the error it ended with."""
    pack, results = Pack(slots, wait, seed, recorder), {}
    left = iter(enumerate(trials))

    def next_job():
        number, words = next(left, (None, None))
        if words is None:
            return None

        def job():
            listening = [monitors[number]] if monitors and number in monitors else []
            try:
                results[number] = alone(words, pack=pack, monitors=listening)
            except (ValueError, ArithmeticError) as error:
                results[number] = error

        return job

    assert run_together(next_job, pack) == sum(words is not None for words in trials)
    return [results[number] for number in sorted(results)]


def numbers_of(result):
    """Return all the numbers of a run: those of its metrics file, its results and its weights."""
    lines = [[value for name, value in line.items() if name != "time"] for line in lines_of(result)]
    result_json = json.loads((result.folder / "result.json").read_text())
    named = {**result.metrics, "step": result_json["objective"]["step"], "steps": result_json["steps"]}
    weights = load_file(result.folder / "adapter" / "adapter_model.safetensors")
    return lines, named, weights


def assert_same(found, expected, tolerance=1e-9):
    (lines, named, weights), (lines_alone, named_alone, weights_alone) = map(numbers_of, (found, expected))
    assert found.state == expected.state
    assert [len(line) for line in lines] == [len(line) for line in lines_alone]
    np.testing.assert_allclose(np.concatenate(lines), np.concatenate(lines_alone), rtol=0, atol=tolerance)
    assert named.keys() == named_alone.keys()
    np.testing.assert_allclose([*named.values()], [*named_alone.values()], rtol=0, atol=tolerance)
    assert {name: tuple(w.shape) for name, w in weights.items()} == {
        name: tuple(w.shape) for name, w in weights_alone.items()
    }
    for name, weight in weights.items():
        torch.testing.assert_close(weight, weights_alone[name], rtol=0, atol=tolerance)


@pytest.fixture(scope="module")
def expected():
    """Return a memory of what trials are alone."""
    return {}


@pytest.mark.parametrize("slots", [3, *(pytest.param(slots, marks=pytest.mark.campaign) for slots in (1, 8))])
def test_packed_trials_are_those_that_they_are_alone(exact, expected, slots):
    for words in MIX:
        if words not in expected:
            expected[words] = alone([*exact, "speedups=none", *words])
    for words, found in zip(MIX, together([[*exact, *words] for words in MIX], slots), strict=True):
        assert json.loads(found.folder.joinpath("provenance.json").read_text())["speedups"] == ["packed"]
        assert_same(found, expected[words])


def as_recorded(device):
    """Return what does a step as a CUDA graph would: on the slots as they were when it was first done."""

    def record(step):
        bench = step.func.__self__
        recorded = list(bench.slots)

        def replay():
            now, bench.slots = bench.slots, recorded
            step()
            bench.slots = now

        return replay

    return record


def test_trials_in_slots_that_stay_are_those_that_they_are_alone(exact, expected):
    """On a GPU a slot without a trial stays, until another takes it or half of them are free."""
    for words in MIX:
        if words not in expected:
            expected[words] = alone([*exact, "speedups=none", *words])
    found = together([[*exact, *words] for words in MIX], 3, recorder=as_recorded)
    for words, one in zip(MIX, found, strict=True):
        assert_same(one, expected[words])


def test_a_slot_that_was_empty_when_a_step_was_recorded_trains_who_takes_it(exact):
    """Who follows the second trial has another loss: all is recorded anew, while the first slot is free."""
    short, long = "trainer.max_steps=2", "trainer.max_steps=10"
    other_loss = [*exact, long, "++trainer.label_smoothing_factor=0.1"]
    first = [[*exact, short], [*exact, "trainer.max_steps=4"], [*exact, long]]
    late = [*exact, "peft.r=4", "seed=3", short]
    found = together([*first, None, None, other_loss, None, None, late], 3, recorder=as_recorded)
    assert_same(found[-1], alone([*late, "speedups=none"]))


@pytest.mark.parametrize("kind", ["multi-label", "regression", "pair", "token-classification"])
@pytest.mark.often("token-classification")
def test_every_task_is_packed(exact, tmp_path, kind):
    _, words = task(kind, exact, tmp_path)
    trials = [[*words, "peft.r=2"], [*words, "peft.r=5", "seed=3"]]
    expected = [alone([*trial, "speedups=none"]) for trial in trials]
    for found, one in zip(together(trials, 2), expected, strict=True):
        assert_same(found, one)


@pytest.mark.parametrize("method", ["head-only", "bitfit", "none"])
@pytest.mark.often("bitfit")
def test_methods_without_an_adapter_are_packed_or_train_beside(exact, method):
    trials = [[*exact, f"peft={method}", "seed=1"], [*exact, f"peft={method}", "seed=2"]]
    trials = [[word for word in trial if not word.startswith("peft.")] for trial in trials]
    for trial, found in zip(trials, together(trials, 2), strict=True):
        one = alone([*trial, "speedups=none"])
        assert found.metrics == pytest.approx(one.metrics, abs=1e-9)


@pytest.mark.parametrize("first", ["pissa", pytest.param("true", marks=pytest.mark.campaign)])
@pytest.mark.campaign
def test_what_a_method_took_out_of_the_weights_is_its_own_alone(exact, still, first):
    """Beside others, and as the first of a pack too; in 32 bits, which PiSSA asks for."""
    words = [f"model.name={still}" if word.startswith("model=") else word for word in exact]
    trials = [[*words, f"++peft.init_lora_weights={kind}"] for kind in (first, "pissa", "true", "olora")]
    expected = [alone([*trial, "speedups=none"]) for trial in trials]
    for found, one in zip(together(trials, 4), expected, strict=True):
        assert_same(found, one, tolerance=2e-4)


@pytest.mark.campaign
def test_trials_that_are_unlike_sit_apart(exact, tmp_path):
    """What one trains another may have frozen, dropout or labels may differ: each is itself all the same."""
    words = [word for word in exact if not word.startswith("peft.")]
    lines = (tmp_path / "tiny.csv").read_text().splitlines()
    fewer = [line for line in lines if not line.endswith(lines[1].rpartition(",")[2])]
    (tmp_path / "fewer.csv").write_text("\n".join(fewer))
    of_fewer = [word for word in words if not word.startswith("data.source.train=")]
    trials = [
        [*words, "peft=head-only"],
        [*words, "peft=bitfit"],
        [*words, "peft=lora", "peft.lora_dropout=0"],
        [*words, "peft=lora", "peft.lora_dropout=0", "++peft.bias=all"],
        [*words, "peft=dora", "peft.lora_dropout=0"],
        [*of_fewer, f"data.source.train={tmp_path / 'fewer.csv'}", "peft=lora", "peft.lora_dropout=0"],
    ]
    expected = [alone([*trial, "speedups=none"]) for trial in trials]
    for found, one in zip(together(trials, 6), expected, strict=True):
        assert found.metrics == pytest.approx(one.metrics, abs=1e-9)


class Bad(Monitor):
    """Fail, or have the trial pruned, at its second evaluation."""

    def __init__(self, how):
        self.how = how

    def on_evaluate(self, step, metrics):
        if step > 2 and self.how == "fails":
            raise ArithmeticError("the trial's own fault")
        return Decision.PRUNE if step > 2 and self.how == "is pruned" else Decision.CONTINUE


@pytest.mark.parametrize("how", ["fails", "is pruned", "has no finite loss"])
@pytest.mark.often("fails", "has no finite loss")
def test_a_neighbour_that_goes_wrong_changes_no_bit_of_the_others(exact, expected, how):
    rate = "1e300" if how == "has no finite loss" else "0.01"
    bad = [*exact, f"trainer.learning_rate={rate}", "++trainer.max_grad_norm=1e300"]
    trials = [[*exact, "peft.r=2"], bad, [*exact, "peft.r=4"]]
    if "beside a good one" not in expected:
        expected["beside a good one"] = together([trials[0], [*exact], trials[2]], 3)
    usual = expected["beside a good one"]
    found = together(trials, 3, {1: Bad(how)})
    assert isinstance(found[1], Exception) or found[1].state == "pruned"
    for one, other in ((found[0], usual[0]), (found[2], usual[2])):
        assert_same(one, other, tolerance=0)


def test_with_too_little_memory_a_pack_goes_on_in_halves(exact, monkeypatch, capfd):
    trials = [[*exact, f"peft.r={rank}"] for rank in (2, 3, 4, 5, 6)]
    usual = together(trials, 5)
    accumulate = Bench._accumulate

    def short_of_memory(bench, tray):
        accumulate(bench, tray)  # it may have got far
        if len(bench.members) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Bench, "_accumulate", short_of_memory)
    for found, one in zip(together(trials, 5), usual, strict=True):
        assert_same(found, one)


def test_a_graph_is_recorded_once_for_trials_that_follow_each_other(exact):
    """Six trials in three slots; the last three need no more room than the first."""
    recorded = []

    def counting(device):
        return lambda step: recorded.append(step) or step

    trials = [[*exact, f"peft.r={rank}"] for rank in (4, 8, 2, 4, 8, 2)]
    together(trials, 3, recorder=counting)
    assert len(recorded) == len({call.args[0].columns["input_ids"].shape for call in recorded})


@pytest.fixture
def evaluated(monkeypatch):
    """Return how many trials each packed evaluation had, in the end."""
    sizes, evaluate = [], Bench.evaluate

    def counting(bench, members):
        sizes.append(len(members))
        evaluate(bench, members)

    monkeypatch.setattr(Bench, "evaluate", counting)
    return sizes


def test_an_evaluation_reads_the_split_once_for_all_trials(exact, evaluated):
    """Every second step of six; the one that ends early leaves the others together."""
    together([[*exact, f"peft.r={rank}"] for rank in (2, 3)] + [[*exact, "trainer.max_steps=4"]], 3)
    assert evaluated == [3, 3, 2]


@pytest.mark.campaign
def test_trials_of_other_rows_are_evaluated_apart(exact, evaluated):
    folds = [[*exact, "data.split.folds=3", f"data.split.fold={fold}"] for fold in (0, 1, 1)]
    expected = [alone([*trial, "speedups=none"]) for trial in folds]
    for found, one in zip(together(folds, 3), expected, strict=True):
        assert_same(found, one)
    assert set(evaluated) == {2}


def test_with_too_little_memory_each_is_evaluated_by_itself(exact, evaluated, monkeypatch):
    trials = [[*exact, f"peft.r={rank}"] for rank in (2, 3)]
    usual = together(trials, 2)

    def short_of_memory(inputs, times):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(passes, "repeated", short_of_memory)
    for found, one in zip(together(trials, 2), usual, strict=True):
        assert_same(found, one)


@pytest.mark.campaign
def test_in_16_bits_a_pack_computes_what_its_trials_do(exact, still):
    words = [f"model.name={still}" if word.startswith("model=") else word for word in exact]
    trials = [[*words, "++trainer.bf16=true", f"peft.r={rank}"] for rank in (2, 8)]
    expected = [alone([*trial, "speedups=none"]) for trial in trials]
    for found, one in zip(together(trials, 2), expected, strict=True):
        assert_same(found, one, tolerance=0.02)


def test_a_pack_repeats_to_the_bit_and_its_masks_are_the_trials_own(tiny_overrides):
    words = [*tiny_overrides, "peft.lora_dropout=0.5"]
    trials = [words, [*words, "peft.r=4"], words]
    first, again = (together(trials, 3, seed=7) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert_same(one, other, tolerance=0)
    losses = [[line["train/loss"] for line in lines_of(one) if "train/loss" in line] for one in first]
    assert losses[0] != losses[2]  # one config, and masks of their own
    other = together(trials, 3, seed=8)
    assert lines_of(other[0])[0]["train/loss"] != lines_of(first[0])[0]["train/loss"]


def test_what_stops_one_stops_all_and_each_has_a_checkpoint(exact):
    """An interruption reaches every trial of a pack at its next step."""

    class Stopping(Monitor):
        def on_log(self, step, metrics):
            if step == 3:
                signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted):
        together([[*exact, "peft.r=2"], [*exact, "peft.r=4"]], 2, {0: Stopping()})
    (output,) = [word.partition("=")[2] for word in exact if word.startswith("output_dir=")]
    states = [json.loads(file.read_text())["state"] for file in Path(output).rglob("status.json")]
    assert states == ["interrupted", "interrupted"]
    assert len(list(Path(output).rglob("checkpoint-3/trainer.pt"))) >= 1
