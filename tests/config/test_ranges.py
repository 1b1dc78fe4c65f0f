"""What is out of its range, of another type, or read by nobody: said at once, and before torch is there."""

import copy

import pytest
from omegaconf import OmegaConf

from composing import compose_config
from finesweep.config.check import check
from finesweep.config.origin import Origin
from finesweep.errors import ConfigError
from finesweep.system.override_words import read_word

COMPOSED = {"model": "minilm", "peft": "lora"}
# What is typed, the key that is named, and a part of the rule.
MISTAKES = [
    ("trainer.learning_rate=-1", "trainer.learning_rate", "0 or more"),
    ("speedups=foo", "speedups", "auto, none, or a list"),
    ("speedups=unpadded", "speedups", "a list of names"),
    ("speedups=[unpaded]", "speedups", "Did you mean `unpadded`?"),
    ("trainer.learning_rate=nan", "trainer.learning_rate", "0 or more"),
    ("trainer.per_device_train_batch_size=0", "trainer.per_device_train_batch_size", "1 or more"),
    ("trainer.per_device_eval_batch_size=-2", "trainer.per_device_eval_batch_size", "1 or more"),
    ("trainer.gradient_accumulation_steps=0", "trainer.gradient_accumulation_steps", "1 or more"),
    ("trainer.weight_decay=-0.1", "trainer.weight_decay", "0 or more"),
    ("trainer.warmup_steps=-1", "trainer.warmup_steps", "0 or more"),
    ("trainer.max_grad_norm=-1", "trainer.max_grad_norm", "0 or more"),
    ("trainer.max_steps=0", "trainer.max_steps", "-1 to count epochs"),
    ("trainer.num_train_epochs=0", "trainer.num_train_epochs", "above 0"),
    ("trainer.eval_steps=0", "trainer.eval_steps", "above 0"),
    ("trainer.save_total_limit=0", "trainer.save_total_limit", "1 or more"),
    ("trainer.early_stopping_patience=0", "trainer.early_stopping_patience", "1 or more"),
    ("+trainer.label_smoothing_factor=1", "trainer.label_smoothing_factor", "below 1"),
    ("peft.r=0", "peft.r", "1 or more"),
    ("peft.lora_dropout=1.5", "peft.lora_dropout", "below 1"),
    ("peft.lora_alpha=-1", "peft.lora_alpha", "above 0"),
    ("tokenizer.max_length=0", "tokenizer.max_length", "1 or more"),
    ("seed=abc", "seed", "whole number"),
    ("seed=1.5", "seed", "whole number"),
    ("seed=-1", "seed", "from 0"),
    ("threads=two", "threads", "whole number"),
    ("threads=0", "threads", "1 or more"),
    ("test=maybe", "test", "true or false"),
    ("name=1e3", "name", "64 letters"),
    ("output_dir=3", "output_dir", "name of a folder"),
    ("+trainerr.lr=3", "trainerr.lr", "Did you mean `trainer`?"),
    ("+lr=3", "lr", "Nothing in the config reads it"),
]


@pytest.fixture(scope="module")
def base():
    return compose_config()


def faults_in(config, *overrides):
    with pytest.raises(ConfigError) as caught:
        check(config, Origin(COMPOSED, overrides), online=False)
    return {fault.where: fault for fault in caught.value.faults}


def faults_of(*overrides):
    return faults_in(compose_config(*overrides), *overrides)


@pytest.mark.parametrize(("word", "where", "rule"), MISTAKES)
def test_a_value_out_of_its_range_is_named(base, word, where, rule):
    config, override = copy.deepcopy(base), read_word(word)
    OmegaConf.update(config, override.key_or_group, override.value(), force_add=True)
    ((named, fault),) = faults_in(config, word).items()
    assert named == where
    assert rule in fault.rule
    assert fault.source == "command line"


def test_all_of_them_are_named_at_once_and_each_once():
    last = {where: word for word, where, _ in MISTAKES}
    assert set(faults_of(*last.values())) == set(last)
    assert len(faults_of("trainer.per_device_train_batch_size=abc")) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("name=2024",),
        ("peft=oft",),
        ("trainer.learning_rate=0", "trainer.weight_decay=0", "trainer.early_stopping_patience=null"),
        ("+lr=0.01", "trainer.learning_rate=${lr}"),
        ("+sizes.rank=4", "peft.r=${sizes.rank}", "peft.lora_alpha='${finesweep.product:${sizes.rank},2}'"),
    ],
)
def test_what_can_be_used_and_what_is_read_pass(words):
    plain = check(compose_config(*words), Origin(COMPOSED, words), online=False)
    assert isinstance(plain["name"], str)


def test_a_key_that_a_saved_config_has_resolved_may_stay_there():
    words = ("+lr=0.01", "trainer.learning_rate=0.01")
    saved = compose_config(*words)
    assert check(saved, Origin(path="config.yaml"), online=False)["lr"] == 0.01
    with pytest.raises(ConfigError, match="Nothing in the config reads it"):
        check(saved, Origin(path="config.yaml", overrides=("lr=0.01",)), online=False)


def test_columns_are_looked_for_in_the_header(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("\ufeffbody;topic\na;b\n", encoding="utf-8")
    words = ("data=csv", f"data.source.train={file}", "data.source.delimiter=semicolon")
    found = faults_of(*words)
    assert [fault.valid for fault in found.values()] == [("body", "topic")] * 2
    assert set(found) == {"data.text_column", "data.label_column"}
    check(compose_config(*words, "data.text_column=body", "data.label_column=topic"), online=False)


def test_a_place_that_can_t_be_a_folder_is_named(tmp_path):
    (tmp_path / "file").touch()
    (fault,) = faults_of(f"output_dir={tmp_path}/file/outputs").values()
    assert "is no folder" in fault.rule


def test_the_speed_ups_that_are_known_here_are_those_that_there_are():
    from finesweep.config.ranges import SPEEDUPS
    from finesweep.models import speedups

    assert set(SPEEDUPS) == set(speedups.SPEEDUPS)
