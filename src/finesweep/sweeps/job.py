"""A trial of finesweep's own job: a run in the trial's folder, with the study listening."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from finesweep.config.command_line import task_overrides
from finesweep.config.origin import Origin
from finesweep.errors import DataError, Fault
from finesweep.runs.layout import RunFolder
from finesweep.runs.result import RunResult
from finesweep.runs.run import run
from finesweep.sweeps import manifest
from finesweep.sweeps.plan import CONFIRM
from finesweep.sweeps.trial import CurrentTrial, TrialMonitor
from finesweep.system import distributed
from finesweep.system.sweep_folder import SweepFolder

DATA = "data"  # a trial's attribute: which config of data, and their fingerprint


def run_trial(config: DictConfig, trial: CurrentTrial) -> float | list[float]:
    """Execute a trial's config, or go on with it where an earlier worker was cut off.

    Args:
        config: the composed config with the trial's parameters.
        trial: the current trial.

    Raises:
        optuna.TrialPruned: the pruner asked for it; the run folder is complete and says so.
    """
    import optuna

    _as_trial(config, trial)
    overrides, run_id = task_overrides(), _run_id(trial)
    choices = {group: str(choice) for group, choice in HydraConfig.get().runtime.choices.items()}
    result = run(
        config,
        origin=Origin(choices, overrides),
        overrides=overrides,
        monitors=[TrialMonitor(trial)],
        folder=RunFolder(trial.folder, run_id=run_id, check_ours=trial.check),
        quiet=True,
        called_in=Path(HydraConfig.get().runtime.cwd),
        accept=functools.partial(_check_same_data, trial, _data_key(config)),
        pack=trial.pack,
    )
    if distributed.is_main():
        trial.note("trainable_parameters", result.trainable)
        trial.note("run_id", run_id)
    if result.state == "pruned":
        raise optuna.TrialPruned
    names = HydraConfig.get().sweeper.get("objectives")
    return [_objective(result, name) for name in names] if names else result.objective


def _as_trial(config: DictConfig, trial: CurrentTrial) -> None:
    confirms = HydraConfig.get().sweeper.get("purpose") == CONFIRM
    with open_dict(config):
        config.test = confirms  # of a search, only the winner reads the test split
        config.resume = "auto"  # a retried trial goes on without anyone to ask
        for tracker in (config.tracker, *config.tracker.values()):  # one, or several by name
            if isinstance(tracker, DictConfig) and "group" in tracker and tracker.group is None:
                tracker.group = trial.study_name
            if isinstance(tracker, DictConfig) and "job_type" in tracker:
                tracker.job_type = "final" if confirms else "trial"


def _data_key(config: DictConfig) -> str:
    """Return what trials that read the same data have in common."""
    return hashlib.sha256(OmegaConf.to_yaml(config.data, resolve=True).encode()).hexdigest()[:16]


def _check_same_data(trial: CurrentTrial, key: str, fingerprints: Mapping[str, Any]) -> None:
    """Refuse data that changed since another trial of the study read them.

    Raises:
        DataError: naming that trial.
    """
    trial.check()  # it may have taken long to get here
    own = f"{key} {fingerprints['data']}"
    for other in trial.optuna_trial.study.get_trials(deepcopy=False):
        known = str(other.user_attrs.get(DATA, own))
        if known.startswith(f"{key} ") and known != own:
            rule = (
                f"They changed since trial {other.number} read them; trials on other data can't be compared."
            )
            raise DataError(Fault("data", rule, fix="Bring them back, or begin a new sweep (name=...)."))
    trial.note(DATA, own)
    trial.write()  # for trials that begin now


def _objective(result: RunResult, name: str) -> float:
    if name == "objective":
        return result.objective
    if name == "trainable_parameters":
        return float(result.trainable)
    return result.metrics[f"validation/{name}"]


def _run_id(trial: CurrentTrial) -> str:
    """Return the tracker's id of a trial: its sweep's, which was drawn once, and its number."""
    sweep = SweepFolder.around(trial.folder)
    folder = sweep.path
    if drawn := _drawn(folder, sweep.manifest.stat().st_mtime_ns if sweep.manifest.is_file() else 0):
        return f"{drawn[:8]}-{trial.number}"
    digest = hashlib.sha256(f"{folder}/{trial.study_name}".encode()).hexdigest()[:8]
    return f"{digest}-{trial.number}"


@functools.lru_cache(maxsize=1)
def _drawn(sweep: Path, _written_ns: int) -> str:
    """Return a sweep's id, read from its manifest once for all the trials of a process."""
    return (manifest.read(sweep) or {}).get("sweep_id", "")
