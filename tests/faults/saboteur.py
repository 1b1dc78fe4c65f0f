"""Loaded by Python at start-up in a sweep's processes (as `sitecustomize`): kill -9 at a named point, once.

FAULT=<point>:<victim>, where the victim is `worker` or `controller`; FAULT_DIR holds the marker and the log.
"""

import os
import signal
import sys
from contextvars import ContextVar
from pathlib import Path

if "FAULT" in os.environ and "finesweep.sweeps.worker" in sys.orig_argv:
    point, victim = os.environ["FAULT"].split(":")
    folder = Path(os.environ["FAULT_DIR"])

    from finesweep.sweeps import study
    from finesweep.training import checkpoints, hf_bridge, loop, monitors

    current = ContextVar("trial", default=-1)  # each trial of a pack has its own

    def strike(here, after=None):
        """Kill the victim if this is the point, in trial 1, for the first time."""
        if here == point and current.get() == 1 and not (folder / "struck").exists():
            (folder / "struck").touch()
            os.kill(os.getpid() if victim == "worker" else os.getppid(), signal.SIGKILL)

    def wrap(owner, name, before=None, after=None):
        original = getattr(owner, name)

        def wrapped(*arguments, **keywords):
            if before:
                before(*arguments)
            result = original(*arguments, **keywords)
            if after:
                after(result, *arguments)
            return result

        setattr(owner, name, wrapped)

    def taken(trial, *_):
        current.set(trial.number if trial is not None else -1)
        strike("after ask")

    def told(_result, _study, trial, *_):
        with (folder / "told").open("a") as log:
            log.write(f"{trial.number}\n")
        strike("after tell")

    wrap(study.Study, "take", after=taken)
    for trainer in (hf_bridge.HFTrainer, loop.NativeTrainer):
        wrap(trainer, "fit", before=lambda *_: strike("before the first step"))
    wrap(monitors.MetricsFile, "on_log", after=lambda _, __, step, ___: step == 5 and strike("mid-epoch"))
    wrap(checkpoints, "seal", before=lambda *_: strike("during a checkpoint save"))
    wrap(study.Study, "tell", before=lambda *_: strike("before tell"), after=told)
