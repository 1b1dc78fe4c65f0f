"""A Hydra application that does nothing, to time what a sweeper itself costs. Runs under any sweeper."""

import hydra
from hydra.core.config_store import ConfigStore

ConfigStore.instance().store("config", {"x": 1.0, "y": 1})


@hydra.main(version_base="1.3", config_path=None, config_name="config")
def noop(config) -> float:
    """Return a number that depends on the parameters."""
    return float(config.x**2 + config.y)


if __name__ == "__main__":
    noop()
