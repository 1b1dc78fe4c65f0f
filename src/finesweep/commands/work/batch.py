"""Files that have a batch system place a sweep's workers, with the sweep's own values."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

from finesweep.commands.report.record import read_manifest
from finesweep.commands.work import Engine
from finesweep.errors import Fault, FinesweepError
from finesweep.sweeps.plan import CONFIRM
from finesweep.system.paths import typed
from finesweep.system.templates import template

FILES = {Engine.slurm: "slurm.sh", Engine.kubernetes: "kubernetes.yaml", Engine.ray: "ray.txt"}


def batch_file(path: Path, engine: Engine) -> str:
    """Return a batch file for a sweep.

    Args:
        path: the sweep's folder.
        engine: who reads the file.

    Raises:
        FinesweepError: no sweep folder, or a confirmation's.
    """
    folder = path.expanduser().absolute()
    content = read_manifest(folder)
    settings = content["settings"]
    if settings.get("purpose") == CONFIRM:
        rule = "This is a confirmation, which its controller alone goes on with."
        raise FinesweepError(Fault(str(path), rule, fix=f"finesweep confirm {typed(folder.parent)}"))
    filters = {"quoted": json.dumps, "shell": shlex.quote}
    return template("finesweep.commands.work", FILES[engine], filters, is_html=False).render(
        label=re.sub(r"[^a-z0-9]+", "-", str(content["study_name"]).lower()).strip("-")[:50] or "sweep",
        folder=str(folder),
        parent=str(folder.parent),
        python=sys.executable,
        workers=max(1, min(int(settings["n_trials"]), int(settings.get("n_jobs") or 1))),
        gpus=int(settings.get("processes_per_trial") or 1),
    )
