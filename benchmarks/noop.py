"""A Hydra application that does nothing, or sleeps, under any sweeper: what is left is the sweeper's cost.

A job sleeps as long as `sleeps` says for its number, in seconds. With LOG=FILE in the environment each job
appends a line: its process, when it began and when it ended.
"""

import inspect
import os
import time

import hydra
import hydra.utils
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig

ConfigStore.instance().store("config", {"x": 1.0, "y": 1, "sleeps": [0]})

IS_1_4 = "execution_whitelist" in inspect.signature(hydra.main).parameters
VERSION = (
    {"execution_whitelist": hydra.utils.UNSAFE_DISABLE_EXECUTION_CHECKS}
    if IS_1_4
    else {"version_base": "1.3"}
)


@hydra.main(config_path=None, config_name="config", **VERSION)
def noop(config) -> float:
    """Return a number that depends on the parameters."""
    begin = time.time()
    time.sleep(config.sleeps[HydraConfig.get().job.num % len(config.sleeps)])
    if "LOG" in os.environ:
        with open(os.environ["LOG"], "a") as log:
            log.write(f"{os.getpid()} {begin} {time.time()}\n")
    return float(config.x**2 + config.y)


if __name__ == "__main__":
    noop()
