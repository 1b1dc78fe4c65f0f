"""A Hydra job that trains nothing: it reports the learning curve that a table has for its point.

TABLE=FILE TABLE_SEED=0 python tests/table_job.py -m ...
"""

import os
import sys
from pathlib import Path

import hydra
import optuna
from hydra.core.config_store import ConfigStore

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from worth_tables import read_table

from finesweep.config.hydra_versions import main_options
from finesweep.sweeps.trial import TrialMonitor, current_trial
from finesweep.training.base import Decision

DEFAULT = {"peft": {"r": 8}, "trainer": {"learning_rate": 2e-3}}
ConfigStore.instance().store("config", DEFAULT)


@hydra.main(config_path=None, config_name="config", **main_options())
def job(config) -> float:
    """Report a curve, evaluation by evaluation, as a run's monitor does."""
    table = read_table(Path(os.environ["TABLE"]))
    point = table.nearest(config.peft.r, config.trainer.learning_rate)
    curve = table.curves[point][int(os.environ["TABLE_SEED"])]
    monitor = TrialMonitor(current_trial())
    monitor.objective = "metric"
    monitor.on_begin(len(curve.metric))
    for number, (value, loss) in enumerate(zip(curve.metric, curve.loss, strict=True), 1):
        metrics = {"validation/metric": value, "validation/loss": loss}
        if monitor.on_evaluate(number, metrics) is Decision.PRUNE:
            raise optuna.TrialPruned
    return max(curve.metric)


if __name__ == "__main__":
    job()
