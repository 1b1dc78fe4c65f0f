"""Evaluate a sweep's winner, and nobody else, on the test split: once."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from omegaconf import OmegaConf

from finesweep.config.authorship import has_key, is_own
from finesweep.config.saved import read_config
from finesweep.config.trust import strangers, vouched
from finesweep.runs.fitting import evaluate_saved
from finesweep.runs.layout import RunFolder
from finesweep.runs.provenance import recorded_speedups
from finesweep.runs.reproduce import repeat_alone
from finesweep.runs.sealing import is_sealed
from finesweep.sweeps.compose import Composer
from finesweep.sweeps.plan import Plan
from finesweep.sweeps.results import ranked, trial_result
from finesweep.system.console import logging_to_console
from finesweep.system.files import disk_full_error
from finesweep.system.processes import import_environment, restore_environment
from finesweep.system.redaction import masked_keys
from finesweep.training.base import PACKED

if TYPE_CHECKING:
    from finesweep.sweeps.study import Study

logger = logging.getLogger(__name__)


def evaluate_winner(plan: Plan, study: Study) -> None:
    """Add test metrics and predictions to the best trial's folder; with several objectives there is none.

    A trial that has them already is left alone. One that trained in a pack is trained once more by itself,
    and that run is tested: what is used is what its own folder repeats to the last bit. A process without
    torch stays light: a process of its own does it.
    """
    order = ranked(study)
    if not order or len(plan.settings.directions) > 1:
        return
    folder = RunFolder(plan.trial_folder(order[0].number))
    if not folder.config.is_file():  # the job was not finesweep's own
        return
    is_packed = PACKED in (recorded_speedups(folder.provenance) or ())
    final = RunFolder(plan.files.alone(order[0].number)) if is_packed else folder
    with FileLock(plan.files.winner_lock):
        if not is_tested(final):
            _evaluate(folder, final, _secrets(plan, folder, order[0].params))


def is_tested(folder: RunFolder) -> bool:
    """Whether a run's test metrics are there, after the predictions, and the hashes of both after them."""
    metrics = trial_result(folder.path).get("metrics", {})
    predictions = folder.predictions / "test.parquet"
    has_both = any(name.startswith("test/") for name in metrics) and predictions.is_file()
    return has_both and is_sealed(folder, f"{predictions.parent.name}/{predictions.name}")


def _secrets(plan: Plan, folder: RunFolder, params: dict[str, Any]) -> dict[str, Any]:
    """Return the values, by key, that were masked when a trial was saved; the sweep still knows them."""
    keys = list(masked_keys(read_config(folder.config)))
    config = Composer(plan).compose(params) if keys else OmegaConf.create()
    found = {key: OmegaConf.select(config, key) for key in keys}
    return {key: value for key, value in found.items() if value is not None}


def _evaluate(folder: RunFolder, final: RunFolder, secrets: dict[str, Any]) -> None:
    if "torch" not in sys.modules:
        names = _vouched_in(folder)
        trusted = None if names is None else sorted(names)
        command = [sys.executable, "-m", "finesweep.sweeps.winner", str(folder.path), str(final.path)]
        done = subprocess.run(
            command,
            input=json.dumps([secrets, trusted]),
            capture_output=True,
            text=True,
            env={**os.environ, **import_environment()},
        )
        if done.returncode:
            _raise_if_full(RuntimeError(done.stderr), folder)
            logger.warning("The winner could not be tested:\n%s", done.stderr.strip())
        return
    try:
        with strangers(_vouched_in(folder)):
            _evaluate_here(folder, final, secrets)
    except Exception as error:  # the search is done and its results stand
        _raise_if_full(error, folder)
        logger.exception("The winner could not be tested:")


def _raise_if_full(error: Exception, folder: RunFolder) -> None:
    """End with a full disk: it is tested when there is space again."""
    if full := disk_full_error(error, folder.path):
        raise full from error


def _vouched_in(folder: RunFolder) -> frozenset[str] | None:
    """Return what the user vouches for: in a sweep of their own, no config that was changed meanwhile."""
    changed = has_key() and not is_own(folder.config)
    return frozenset() if vouched() is None and changed else vouched()


def _evaluate_here(folder: RunFolder, final: RunFolder, secrets: dict[str, Any]) -> None:
    with logging_to_console(quiet=True):
        if final.path == folder.path:
            evaluate_saved(folder, "test", secrets)
        else:
            repeat_alone(folder, final, secrets)


if __name__ == "__main__":
    restore_environment()
    given, names = json.load(sys.stdin)
    with strangers(names):
        _evaluate_here(RunFolder(Path(sys.argv[1])), RunFolder(Path(sys.argv[2])), given)
