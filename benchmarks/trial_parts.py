"""What a trial costs beside its training steps, part by part.

    python benchmarks/trial_parts.py [--trials 4] [key=value ...]

A sweep over MiniLM with LoRA, as `experiment=quick` has it, in one process: the first trial, which pays for
imports and fills the cache, doesn't count. A part's time is its own, without the parts inside it, and all
parts together are the trial. Further words go to the sweep (`trainer=native`, `trainer.bf16=true`).
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from finesweep.commands.train import launch
from finesweep.config.saved import read_config

TRIAL, STEPS, FORWARD = "Hydra's job, the rest", "training: steps", "evaluations: forward passes"
# Where a part's work is called from. Of two trainers one is at work, and the other's take no time.
PARTS = {
    "take and tell": (
        "finesweep.sweeps.study:Study.take",
        "finesweep.sweeps.execution:_record",
        "finesweep.sweeps.trial:TrialMonitor.on_evaluate",
    ),
    "compose": ("finesweep.sweeps.execution:_compose",),
    TRIAL: ("finesweep.sweeps.execution:run_one",),
    "check": ("finesweep.runs.run:anchored", "finesweep.runs.run:check", "finesweep.runs.run:saved_config"),
    "prepare: data and cache": ("finesweep.runs.preparation:_read_and_encode",),
    "prepare: model": ("finesweep.models:load_classifier", "finesweep.runs.preparation:weights_fingerprint"),
    "prepare: adapter": ("finesweep.models.adapters:attach", "finesweep.models.speedups:apply"),
    "prepare: the rest": ("finesweep.runs.run:prepare",),
    "provenance, splits, config": ("finesweep.runs.run:run",),
    STEPS: (
        "transformers:Trainer.training_step",
        "accelerate:Accelerator.clip_grad_norm_",
        "accelerate.optimizer:AcceleratedOptimizer.step",
        "finesweep.training.loop:NativeTrainer._update",
    ),
    "training: the rest": ("finesweep.runs.run:fit",),
    FORWARD: ("peft:PeftModelForSequenceClassification.forward",),
    "evaluations: the rest": (
        "transformers:Trainer.evaluate",
        "finesweep.training.loop:NativeTrainer._evaluate",
        "finesweep.runs.evaluation:Evaluator.finish",
    ),
    "checkpoints": (
        "finesweep.training.hf_bridge:SealingTrainer._save_checkpoint",
        "finesweep.training.hf_bridge:load_weights",
        "finesweep.training.loop:NativeTrainer._save",
        "finesweep.training.loop:load_weights",
        "finesweep.training.checkpoints:rotate",
        "finesweep.training.checkpoints:verified",
    ),
    "finish: predictions": ("finesweep.runs.evaluation:write_predictions",),
    "finish: adapter and tokenizer": ("finesweep.runs.run:write_folder",),
    "finish: hashes": ("finesweep.runs.run:seal",),
    "finish: the rest": ("finesweep.runs.run:_fit_and_finish",),
}


class Clock:
    """Time goes to the part that was entered last."""

    def __init__(self) -> None:
        self.trials: list[dict[str, float]] = []
        self._spent: defaultdict[str, float] = defaultdict(float)
        self._entered: list[str] = []
        self._since = self._began = 0.0

    def time(self, place: str, part: str) -> None:
        """Let a function's time go to a part."""
        module, _, name = place.partition(":")
        *owners, name = name.split(".")
        owner = functools.reduce(getattr, owners, import_module(module))
        function = getattr(owner, name)

        @functools.wraps(function)
        def timed(*arguments: Any, **keywords: Any) -> Any:
            own = STEPS if part == FORWARD and arguments[0].training else part
            self._switch(lambda: self._entered.append(own))
            try:
                return function(*arguments, **keywords)
            finally:
                self._switch(self._entered.pop)
                if part == TRIAL:
                    self._end_trial()

        setattr(owner, name, timed)

    def _switch(self, enter_or_leave: Callable[[], Any]) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        if self._entered:
            self._spent[self._entered[-1]] += now - self._since
        elif not self._spent:
            self._began = now
        self._since = now
        enter_or_leave()

    def _end_trial(self) -> None:
        whole, parts = self._since - self._began, sum(self._spent.values())
        assert abs(whole - parts) < 0.01 * whole, f"a trial of {whole:.3f} s has parts of {parts:.3f} s"
        for part in PARTS:
            assert self._spent[part] > 0, f"{part}: {self._spent[part]} s; is it called elsewhere now?"
        self.trials.append({part: self._spent[part] for part in PARTS})
        self._spent.clear()


def row(name: str, seconds: list[float]) -> str:
    """Return a line of the table."""
    return f"| {name} | {statistics.median(seconds):.3f} ({min(seconds):.3f} to {max(seconds):.3f}) |"


def main() -> None:
    """Run a sweep and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=4, help="the first included")
    options, words = parser.parse_known_args()
    clock = Clock()
    for part, places in PARTS.items():
        for place in places:
            clock.time(place, part)
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"HF_HUB_OFFLINE": "1", "FINESWEEP_CACHE": f"{folder}/cache"}
        sweep = [
            "hydra.sweeper.n_jobs=0",
            f"hydra.sweeper.n_trials={options.trials}",
            "hydra/sweeper/pruner=none",
        ]
        launch(["-m", "experiment=quick", "tracker=none", f"output_dir={folder}", *sweep, *words])
        trainer = read_config(next(Path(folder).glob("sweeps/*/trials/*/config.yaml")))["trainer"]
    later = clock.trials[1:]
    assert len(later) == options.trials - 1 > 0, f"{len(clock.trials)} trials ran to their end"
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    precision = next((name for name in ("bf16", "fp16", "tf32") if trainer.get(name)), "float32")
    print(f"{device}, {precision}, {torch.get_num_threads()} threads; {len(later)} trials after the first")
    print("| part | s, median (min to max) |\n|---|---|")
    for part in PARTS:
        print(row(part, [trial[part] for trial in later]))
    print(row("**beside steps**", [sum(trial.values()) - trial[STEPS] for trial in later]))
    print(
        row("**beside steps and forward passes**", [sum(t.values()) - t[STEPS] - t[FORWARD] for t in later])
    )


if __name__ == "__main__":
    main()
