"""Every file of conf/peft trains in a run, and every file of sweeps/ composes."""

import pytest
from contract import METHODS, SMALL

from composing import compose_config
from finesweep.system.paths import FOREIGN_SWEEPS
from finesweep.system.places import config_folder

SWEEPS = sorted({file.stem for file in (config_folder() / "sweeps").glob("*.yaml")} - set(FOREIGN_SWEEPS))


@pytest.mark.filterwarnings("ignore")  # peft's advice
@pytest.mark.parametrize("method", METHODS)
def test_every_method_runs(finished, method):
    result = finished(f"peft={method}", *SMALL.get(method, []), "trainer.max_steps=5", "test=false")
    assert result.state == "complete"


@pytest.mark.parametrize("name", SWEEPS)
def test_every_search_space_composes(name):
    method = name if name in METHODS else "lora"
    config = compose_config(f"peft={method}", f"sweeps={name}")
    assert config.peft
