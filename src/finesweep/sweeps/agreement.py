"""Whether a worker that comes from elsewhere would compute what a sweep's other trials have computed."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import open_dict

from finesweep.config.build import build, register_resolvers
from finesweep.config.check import check
from finesweep.config.origin import Origin
from finesweep.errors import ConfigError, Fault
from finesweep.runs.anchoring import anchored
from finesweep.runs.layout import RunFolder
from finesweep.runs.unchanged import check_data
from finesweep.sweeps import manifest
from finesweep.sweeps.compose import Composer
from finesweep.sweeps.plan import Plan
from finesweep.sweeps.study import Study
from finesweep.system.paths import typed
from finesweep.system.records import read_json
from finesweep.system.version import __version__

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

OURS = "finesweep"
COMPARED = ("torch", "transformers", "peft")


def check_agreement(plan: Plan, study: Study) -> None:
    """Refuse to take part in a sweep with other versions, or other data, than its trials had.

    Known are the manifest's version of finesweep and the provenance of the first trial that has ended.

    Raises:
        ConfigError: what differs.
        DataError: the data are others, and in which rows.
    """
    first = next((trial for trial in study.trials("COMPLETE", "PRUNED") if _folder(plan, trial)), None)
    folder = _folder(plan, first) if first else None
    known = {OURS: str((manifest.read(plan.folder) or {}).get(OURS, __version__))}
    if folder:
        provenance = read_json(folder.provenance)
        known |= {OURS: str(provenance.get(OURS)), **_chosen(provenance.get("packages"))}
    if faults := [*_faults(plan, known)]:
        raise ConfigError(*faults)
    if first and folder:
        _check_data(plan, first, folder)


def _folder(plan: Plan, trial: FrozenTrial) -> RunFolder | None:
    """Return a trial's folder; None where the job was not finesweep's own."""
    folder = RunFolder(plan.trial_folder(trial.number))
    return folder if folder.provenance.is_file() and folder.config.is_file() else None


def _chosen(packages: Any) -> dict[str, str]:
    found = packages if isinstance(packages, dict) else {}
    return {name: str(found[name]) for name in COMPARED if name in found}


def _faults(plan: Plan, known: dict[str, str]) -> Iterator[Fault]:
    for name, version in known.items():
        here = __version__ if name == OURS else metadata.version(name)
        # What stands behind the plus says for which devices torch was built.
        if here.partition("+")[0] != version.partition("+")[0]:
            rule = f"The trials of this sweep were run with {name} {version}; here it is {here}."
            fix = f"Install {name}=={version.partition('+')[0]}; or finesweep resume {typed(plan.folder)}"
            yield Fault(name, rule, fix=fix)


def _check_data(plan: Plan, trial: FrozenTrial, folder: RunFolder) -> None:
    """Read the data that a trial had, before any trial is lost on others."""
    register_resolvers()
    config = Composer(plan).compose(trial.params)
    with open_dict(config):
        config.pop("hydra")
    config = anchored(config, Path(plan.config.hydra.runtime.cwd))
    plain = check(config, Origin(path=str(folder.config)), online=False)
    check_data(
        folder, build(plain["data"]), fix=f"Or go on with these: finesweep resume {typed(plan.folder)}"
    )
