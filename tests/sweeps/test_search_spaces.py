"""Every search space that ships: what is drawn from it can be trained."""

from typing import Any

import optuna
import pytest
from omegaconf import OmegaConf

from composing import compose_config
from finesweep.config.check import check
from finesweep.sweeps.space import Space, read_space, suggest, to_override
from finesweep.system.paths import FOREIGN_SWEEPS
from finesweep.system.places import config_folder
from tiny import make_model

SPACES = sorted({file.stem for file in (config_folder() / "sweeps").glob("*.yaml")} - set(FOREIGN_SWEEPS))


@pytest.fixture(scope="module")
def wide_model(tmp_path_factory):
    """Return a model that is wide enough for every method's sizes."""
    folder = tmp_path_factory.mktemp("wide")
    return make_model(folder, "bert", hidden_size=128, intermediate_size=256, num_hidden_layers=1)


def space_of(choice: str) -> Space:
    node = OmegaConf.load(config_folder() / "sweeps" / f"{choice}.yaml")
    params: Any = OmegaConf.to_container(node.params if "params" in node else node.hydra.sweeper.params)
    return read_space([], params)


def drawn_from(space: Space, count: int) -> list[list[str]]:
    """Draw points at random, as overrides."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    points = []
    for _ in range(count):
        trial = study.ask()
        for key, axis in space.axes.items():
            suggest(trial, key, axis)
        points.append([to_override(key, value) for key, value in trial.params.items()])
    return points


@pytest.mark.filterwarnings("ignore")  # peft's advice
@pytest.mark.parametrize("choice", SPACES)
@pytest.mark.often("lora", "adalora", "pareto", "none")
def test_what_is_drawn_from_a_search_space_can_be_trained(finished, tiny_overrides, wide_model, choice):
    lines = (config_folder() / "sweeps" / f"{choice}.yaml").read_text().splitlines()
    assert len(lines) < 25
    assert any(line.startswith("# python train.py -m") and f"sweeps={choice}" in line for line in lines[:3])
    method = [f"peft={choice}"] if (config_folder() / "peft" / f"{choice}.yaml").is_file() else []
    words = [*method, f"sweeps={choice}", f"model.name={wide_model}"]
    first, *others = drawn_from(space_of(choice), 3)
    for point in others:
        check(compose_config(*tiny_overrides, *words, *point))
    assert finished(*words, *first, "trainer.max_steps=1", "test=false").state == "complete"
