"""When memory runs out: the same steps in halves, by both trainers, in packs and where steps are recorded."""

import json
from dataclasses import dataclass

import pytest
import torch
from transformers import TrainingArguments

from composing import compose_config
from finesweep.errors import TrainingError
from finesweep.models.loading import load_classifier
from finesweep.runs.memory import Shortage
from finesweep.runs.run import run
from finesweep.sweeps.fibers import run_together, wait
from finesweep.training.micro_batches import Cuts, is_out_of_memory
from finesweep.training.outputs import Outputs
from finesweep.training.packs import Pack
from tiny import lines_of, make_model

ON_A_CPU = (
    "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
)


@dataclass
class Limit:
    """A forward pass hook: more rows than `rows` run out of memory, after `spared` passes like it."""

    rows: int
    spared: int
    error: Exception
    trains: bool = True

    def __call__(self, module, given, keywords):
        rows = len(
            next(values for values in (*given, *keywords.values()) if isinstance(values, torch.Tensor))
        )
        if module.training is self.trains:
            self.spared -= 1
            if rows > self.rows and self.spared < 0:
                raise self.error


def short_of_memory(*, schema, name, rows, spared=0, on_cpu=False, trains=True, **keywords):
    """Load a classifier that runs out of memory when it trains on more rows than `rows`, or reads them."""
    classifier = load_classifier(schema=schema, name=name, **keywords)
    error = RuntimeError(ON_A_CPU) if on_cpu else torch.OutOfMemoryError("CUDA out of memory. Tried to ...")
    classifier.model.register_forward_pre_hook(Limit(rows, spared, error, trains), with_kwargs=True)
    return classifier


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    """Return the overrides of a model without dropout."""
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = make_model(tmp_path_factory.mktemp("still"), "bert", **dropout)
    return [f"model.name={model}", "peft.lora_dropout=0", "test=false", "trainer.learning_rate=0.01"]


def losses_of(result):
    return [line["train/loss"] for line in lines_of(result) if "train/loss" in line]


def in_a_pack(words):
    """Run a trial in a pack that has room for another."""
    pack, results = Pack(2, wait), []
    jobs = iter([lambda: results.append(run(compose_config(*words), overrides=words, pack=pack))])
    run_together(lambda: next(jobs, None), pack)
    return results[0]


def short(rows, **more):
    words = {"rows": rows, **more}
    return [f"model._target_={__name__}.short_of_memory", *(f"+model.{k}={v}" for k, v in words.items())]


@pytest.mark.parametrize(
    ("trainer", "more"),
    [
        ("native", {}),
        ("native", {"on_cpu": "true"}),
        ("hf", {"on_cpu": "true"}),
        ("hf", {"spared": 3}),  # the second micro-batch of the second step: the first one's gradient is there
    ],
)
@pytest.mark.often("native*")
def test_a_step_that_runs_out_of_memory_is_done_in_halves(finished, still, trainer, more):
    words = [*still, f"trainer={trainer}", "trainer.gradient_accumulation_steps=2"]
    usual = finished(*words)
    found = finished(*words, *short(3, **more))
    assert losses_of(found) == pytest.approx(losses_of(usual), abs=1e-5)
    assert len(losses_of(found)) == 4
    log = (found.folder / "train.log").read_text()
    first = "step 2" if more.get("spared") else "step 1"
    assert f"it ran out at {first}: micro-batches of 4 rows from here on, in steps of 16 as before" in log
    assert f"it ran out at {first}: micro-batches of 2 rows from here on" in log
    for name in ("provenance.json", "result.json"):
        assert json.loads((found.folder / name).read_text())["micro_batch"] == 2
        assert "micro_batch" not in json.loads((usual.folder / name).read_text())


def test_an_evaluation_that_runs_out_of_memory_goes_on_in_halves(finished, still):
    """Of 6 validation rows at once, by the trainer's default, 3 and then 2 are computed at a time."""
    usual, found = (finished(*still, "trainer=native", *more) for more in ([], short(2, trains="false")))
    assert losses_of(found) == losses_of(usual)
    assert found.metrics == pytest.approx(usual.metrics, abs=1e-6)
    log = (found.folder / "train.log").read_text()
    assert [log.count(f"at an evaluation: {rows} rows at a time") for rows in (3, 2)] == [1, 1]


def test_where_a_single_row_can_not_be_evaluated_the_message_says_what_takes_less():
    def model(input_ids):
        raise torch.OutOfMemoryError("CUDA out of memory")

    model.eval = lambda: None
    with pytest.raises(TrainingError, match=r"the logits of a single row[\s\S]*max_length"):
        Outputs(4).of(model, [{"input_ids": torch.zeros(3, 5)}], torch.device("cpu"))


@pytest.mark.parametrize("trainer", ["native", "hf"])
def test_where_a_single_row_does_not_fit_the_message_says_what_takes_less(finished, still, trainer):
    with pytest.raises(TrainingError) as caught:
        finished(*still, f"trainer={trainer}", *short(0))
    fault = caught.value.faults[0]
    assert "a micro-batch of 1 rows" in fault.rule
    assert "shorter tokenizer.max_length" in fault.fix


def test_a_batch_far_beyond_the_memory_of_a_cpu_is_computed_in_parts_from_the_start(finished, still):
    found = finished(
        *still, "trainer.per_device_train_batch_size=16777216", "trainer.max_steps=1", "trainer=native"
    )
    log = (found.folder / "train.log").read_text()
    rows = json.loads((found.folder / "provenance.json").read_text())["micro_batch"]
    keys = (
        f"trainer.per_device_train_batch_size={rows} trainer.gradient_accumulation_steps={16777216 // rows}"
    )
    assert f"is free: they are computed {rows} at a time, as with {keys}" in log


@pytest.mark.parametrize(
    ("short", "said", "micro_batch"),
    [
        (Shortage(300, 200, 64, 32, 2, 16, True), "fit with trainer.per_device_train_batch_size=16 "
         "trainer.gradient_accumulation_steps=4", None),
        (Shortage(900, 200, 64, 32, 1, 4, False), "fit with trainer.per_device_train_batch_size=4", None),
        (Shortage(900, 200, 64, 32, 1, 4, True), "they are computed 4 at a time", 4),
        (Shortage(900, 2, 64, 32, 1, None, True), "not even one row at a time may fit", 1),
    ],
)  # fmt: skip
def test_a_shortage_is_said_with_what_fits(short, said, micro_batch):
    assert said in str(short)
    assert short.micro_batch == micro_batch


def test_an_error_of_another_kind_ends_the_training():
    cuts = Cuts(TrainingArguments(per_device_train_batch_size=8, report_to="none", use_cpu=True))
    with pytest.raises(RuntimeError, match="size of tensor"):
        cuts.halve(RuntimeError("The size of tensor a must match"), 1)
    assert cuts.used is None


def test_the_last_trial_of_a_pack_is_done_in_halves(still, tiny_overrides):
    words = [*tiny_overrides, *still]
    usual, found = (in_a_pack([*words, *more]) for more in ([], short(3)))
    assert losses_of(found) == pytest.approx(losses_of(usual), abs=1e-5)
    record = json.loads((found.folder / "provenance.json").read_text())
    assert (record["micro_batch"], record["speedups"]) == (2, ["packed"])


def test_what_the_allocators_say_is_known():
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(RuntimeError(ON_A_CPU))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))
    with pytest.raises(RuntimeError) as refused:
        torch.empty(2**62, dtype=torch.uint8)
    assert is_out_of_memory(refused.value)
