"""What a trial's monitor tells the study, and what it makes of the answer."""

import optuna

from finesweep.sweeps.trial import CurrentTrial, TrialMonitor
from finesweep.training import Decision


class PruneAlways(optuna.pruners.BasePruner):
    def prune(self, study, trial):
        return True


def test_a_trial_is_pruned_at_any_evaluation_but_its_last(tmp_path):
    study = optuna.create_study(pruner=PruneAlways())
    trial = study.ask()
    monitor = TrialMonitor(CurrentTrial(0, tmp_path, "study", trial))
    monitor.objective = "accuracy"
    monitor.on_begin(num_steps=20)
    assert monitor.on_evaluate(10, {"validation/accuracy": 0.5}) is Decision.PRUNE
    assert monitor.on_evaluate(20, {"validation/accuracy": 0.7}) is Decision.CONTINUE
    assert study.trials[0].intermediate_values == {1: 0.5, 2: 0.7}
