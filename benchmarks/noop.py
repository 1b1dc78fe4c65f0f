"""A Hydra application that does nothing, to time what a sweeper itself costs. Runs under any sweeper."""

import inspect

import hydra
import hydra.utils
from hydra.core.config_store import ConfigStore

ConfigStore.instance().store("config", {"x": 1.0, "y": 1})


IS_1_4 = "execution_whitelist" in inspect.signature(hydra.main).parameters
VERSION = (
    {"execution_whitelist": hydra.utils.UNSAFE_DISABLE_EXECUTION_CHECKS}
    if IS_1_4
    else {"version_base": "1.3"}
)


@hydra.main(config_path=None, config_name="config", **VERSION)
def noop(config) -> float:
    """Return a number that depends on the parameters."""
    return float(config.x**2 + config.y)


if __name__ == "__main__":
    noop()
