"""The names under which finesweep writes into a study and its trials, which old studies have too."""

from __future__ import annotations

RETRIES = "finesweep:retries"  # of a trial: how often it was queued again
ERROR = "error"  # why it failed
FOLDER = "folder"  # where its run is, below the sweep's
REMEMBERED = "remembered"  # which earlier sweep its point is from
FIXED = "fixed_params"  # Optuna's name: parameters that a sampler must not choose
ENDED = "finesweep:ended"  # of the study: how many trials had ended when its results were written
