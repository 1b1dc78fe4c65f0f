"""A trial's config is what Hydra itself composes for it."""

import pytest
from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import HydraContext, RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from composing import VERSION
from finesweep.config.build import register_resolvers
from finesweep.sweeps.compose import Composer
from finesweep.sweeps.plan import Plan, Settings
from finesweep.sweeps.space import Space, to_override
from finesweep.system.places import config_folder

FIXED = ("sweeps=lora", "data=csv", "data.source.train=a.csv", "seed=3", "+trainer.bf16=true")


@pytest.fixture
def plan(tmp_path):
    register_resolvers()
    with initialize_config_dir(str(config_folder()), **VERSION):
        loader = GlobalHydra.instance().hydra.config_loader
        config = loader.load_configuration("train", list(FIXED), run_mode=RunMode.MULTIRUN)
        HydraConfig.instance().set_config(config)
        settings = Settings(direction="maximize", n_trials=3, n_jobs=1, sampler={}, pruner={})
        context = HydraContext(config_loader=loader, callbacks=Callbacks())
        yield Plan(tmp_path, settings, Space({}, FIXED), config, context, print)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"peft.r": 4, "trainer.learning_rate": 1.5e-4},
        {"peft": "none"},
        {"peft": "lora", "peft.r": 16, "model": "bert-base"},
        {"peft.target_modules": "[query,value]", "data.label_column": "topic"},
        {"peft.target_modules": "'a b'", "+trainer.fp16": True, "seed": 7},
        {"tokenizer.max_length": 32, "test": False},
    ],
)
@pytest.mark.often(every=3)
def test_a_trial_s_config_is_the_one_hydra_composes(plan, params):
    words = [*FIXED, *(to_override(key, value) for key, value in params.items())]
    expected = plan.hydra_context.config_loader.load_sweep_config(plan.config, words)
    composer = Composer(plan)
    composer.compose({"peft.r": 99, "seed": 99})  # leaves nothing behind
    composed = composer.compose(params)
    assert OmegaConf.to_container(composed) == OmegaConf.to_container(expected)
    assert OmegaConf.is_struct(composed)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("peft.use_rslora", True, True),
        ("trainer.label_smoothing_factor", 0.1, 0.1),
        ("peft.layers_to_transform", None, None),
        ("peft.layers_to_transform", "[4,5]", [4, 5]),
        ("peft.rank_pattern", "{query:4}", {"query": 4}),
        ("data.text_column", "'a, b'", "a, b"),
    ],
)
@pytest.mark.often(every=3)
def test_a_key_that_its_target_has_by_default_is_added_as_a_run_adds_it(plan, key, value, expected):
    found = OmegaConf.select(Composer(plan).compose({key: value}), key)
    assert (OmegaConf.to_container(found) if OmegaConf.is_config(found) else found) == expected


@pytest.mark.parametrize("key", ["sed", "objective.metrik", "nothing.at_all"])
def test_a_key_that_does_not_exist_is_refused_as_hydra_does(plan, key):
    with pytest.raises(OmegaConfBaseException, match=f"{key.partition('.')[0]}|{key.rpartition('.')[2]}"):
        Composer(plan).compose({key: 3})
