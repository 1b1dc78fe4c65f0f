"""What a trial costs beside its training steps, part by part, alone or in a pack.

    python benchmarks/trial_parts.py [--trials 4] [--slots 1] [--processor-time] [key=value ...]

A sweep over MiniLM with LoRA, as `experiment=quick` has it, in one process: the first trials, which pay for
imports and fill the cache, don't count (one, or as many as the pack has slots). A part's time is its own,
without the parts inside it, and all parts together are the trial. What is done for several trials of a pack
is shared out evenly. On a machine that others use too, `--processor-time` says more: that of the thread that
trains, which counts no wait for a disk. Further words go to the sweep, such as `trainer=native`.
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
from threading import current_thread, main_thread
from typing import Any

import greenlet
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
        "finesweep.training.passes:Bench.do_step",
    ),
    "training: the rest": ("finesweep.runs.run:fit", "finesweep.training.packs:Pack.compute"),
    FORWARD: (
        "peft:PeftModelForSequenceClassification.forward",
        "finesweep.training.passes:Bench.evaluate",
    ),
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
        "finesweep.training.saving:Saver.wait",
        "finesweep.training.checkpoints:verified",
    ),
    "finish: predictions": ("finesweep.runs.evaluation:write_predictions",),
    "finish: adapter and tokenizer": ("finesweep.runs.run:write_folder",),
    "finish: hashes": ("finesweep.runs.run:seal",),
    "finish: the rest": ("finesweep.runs.run:_fit_and_finish",),
}


class Clock:
    """Time goes to the part that was entered last in the fiber that runs, a trial's or the one between them.

    Args:
        now: tells the time.
        skipped: trials that don't count, the first ones.
        count: those that do.
    """

    def __init__(self, now: Callable[[], float], skipped: int, count: int) -> None:
        self.trials: list[dict[str, float]] = []
        self._now, self._skipped, self._count = now, skipped, count
        self._spent: defaultdict[Any, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
        self._entered: defaultdict[Any, list[str]] = defaultdict(list)
        self._hub, self._since = greenlet.getcurrent(), now()
        greenlet.settrace(lambda _event, fibers: self._charge(fibers[0]))

    def time(self, place: str, part: str) -> None:
        """Let a function's time go to a part."""
        module, _, name = place.partition(":")
        *owners, name = name.split(".")
        owner = functools.reduce(getattr, owners, import_module(module))
        function = getattr(owner, name)

        @functools.wraps(function)
        def timed(*arguments: Any, **keywords: Any) -> Any:
            if current_thread() is not main_thread():  # it seals a checkpoint while training goes on
                return function(*arguments, **keywords)
            own = STEPS if name == "forward" and arguments[0].training else part
            fiber = greenlet.getcurrent()
            self._charge(fiber)
            self._entered[fiber].append(own)
            try:
                return function(*arguments, **keywords)
            finally:
                self._charge(fiber)
                self._entered[fiber].pop()
                if part == TRIAL:
                    self._end_trial(fiber)

        setattr(owner, name, timed)

    def shared(self) -> dict[str, float]:
        """Return what was done between the fibers of trials, for each of those that count."""
        return {part: self._spent[self._hub][part] / len(self.trials) for part in PARTS}

    def _charge(self, fiber: Any) -> None:
        """Let the time since the last call go to the part that a fiber is in."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now, has_ended = self._now(), len(self.trials) == self._count  # what follows is the sweep's end
        if self._entered[fiber] and not has_ended:
            self._spent[fiber][self._entered[fiber][-1]] += now - self._since
        self._since = now

    def _end_trial(self, fiber: Any) -> None:
        spent = {part: self._spent[fiber].pop(part, 0.0) for part in PARTS}
        if self._skipped:
            self._skipped -= 1
            if not self._skipped:
                self._spent[self._hub].clear()
        elif len(self.trials) < self._count:
            self.trials.append(spent)


def row(name: str, seconds: list[float]) -> str:
    """Return a line of the table."""
    return f"| {name} | {statistics.median(seconds):.3f} ({min(seconds):.3f} to {max(seconds):.3f}) |"


def main() -> None:
    """Run a sweep and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=4, help="those that don't count included")
    parser.add_argument("--slots", type=int, default=1, help="trials that train together")
    parser.add_argument("--processor-time", action="store_true")
    options, words = parser.parse_known_args()
    if options.trials <= options.slots:
        parser.error("--trials must be more than --slots: the first ones don't count")
    clock = Clock(
        time.thread_time if options.processor_time else time.perf_counter,
        options.slots,
        options.trials - options.slots,
    )
    for part, places in PARTS.items():
        for place in places:
            clock.time(place, part)
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"HF_HUB_OFFLINE": "1", "FINESWEEP_CACHE": f"{folder}/cache"}
        sweep = [
            "hydra.sweeper.n_jobs=0",
            f"hydra.sweeper.trials_per_worker={options.slots}",
            f"hydra.sweeper.n_trials={options.trials}",
            "hydra/sweeper/pruner=none",
        ]
        launch(["-m", "experiment=quick", "tracker=none", f"output_dir={folder}", *sweep, *words])
        trainer = read_config(next(Path(folder).glob("sweeps/*/trials/*/config.yaml")))["trainer"]
    shared = clock.shared()
    later = [{part: trial[part] + shared[part] for part in PARTS} for trial in clock.trials]
    assert len(later) == options.trials - options.slots > 0, f"{len(later)} trials ran to their end"
    for part in PARTS:
        assert any(trial[part] for trial in later), f"{part}: no time; is it called elsewhere now?"
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    precision = next((name for name in ("bf16", "fp16", "tf32") if trainer.get(name)), "float32")
    clock_name = "processor time" if options.processor_time else "time"
    print(f"{device}, {precision}, {torch.get_num_threads()} threads; {len(later)} trials, {clock_name}")
    print("| part | s, median (min to max) |\n|---|---|")
    for part in PARTS:
        print(row(part, [trial[part] for trial in later]))
    print(row("**beside steps**", [sum(trial.values()) - trial[STEPS] for trial in later]))
    print(
        row("**beside steps and forward passes**", [sum(t.values()) - t[STEPS] - t[FORWARD] for t in later])
    )


if __name__ == "__main__":
    main()
