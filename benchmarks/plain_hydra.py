"""`plain.finetune` as a Hydra application, for the official Optuna sweeper (see sweep_throughput.py)."""

import hydra
import hydra.utils
from hydra.core.config_store import ConfigStore
from plain import finetune

ConfigStore.instance().store("config", {"folder": "???", "seed": 0, "rank": 8, "rate": 2e-3})


@hydra.main(
    config_path=None,
    config_name="config",
    execution_whitelist=hydra.utils.UNSAFE_DISABLE_EXECUTION_CHECKS,  # Hydra 1.4's
)
def main(config) -> float:
    """Train one configuration."""
    value = finetune(config.folder, config.seed, config.rank, config.rate)
    print("accuracies", value, flush=True)
    return value


if __name__ == "__main__":
    main()
