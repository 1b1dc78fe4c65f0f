"""How long it takes until training begins, until help is on the screen, until a mistake is named.

    python benchmarks/startup.py [--rounds 3]

`python train.py` is timed from the call to the end of its first step, less the time of a step, on a warm disk
and a warm cache; beside it the imports that no fine-tuning can do without. The two take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
TRAIN = [sys.executable, str(HERE.parent / "train.py")]
FINESWEEP = str(Path(sys.executable).with_name("finesweep"))
IMPORTS = "import torch, transformers, peft, datasets"
# The classes that every fine-tuning with these libraries uses; transformers and datasets load them late.
USED = f"{IMPORTS}; transformers.Trainer, transformers.AutoModelForSequenceClassification, datasets.Dataset"


def seconds(command: list[str], **environment: str) -> float:
    """Run a command and return its wall time."""
    start = time.perf_counter()
    env = {**os.environ, **environment}
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
    return time.perf_counter() - start


def first_step(trainer: str) -> float:
    """Start a run, and return when its first step began."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*TRAIN, f"trainer={trainer}", "tracker=none", f"output_dir={folder}"]
        start = time.perf_counter()
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        took, lines = 0.0, []
        while len(lines) < 4:
            assert run.poll() is None, "the run has ended"
            time.sleep(0.01)
            for file in Path(folder).glob("runs/*/*/metrics.jsonl"):
                lines = file.read_text().splitlines()
            if lines and not took:
                took = time.perf_counter() - start
        run.send_signal(signal.SIGKILL)
        run.wait()
    times = [json.loads(line)["time"] for line in lines[:4]]
    return took - (times[3] - times[0]) / 3


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    mistake = [*TRAIN, "peft.rr=4"]
    complete = {"_FINESWEEP_COMPLETE": "complete_bash", "COMP_WORDS": "finesweep re", "COMP_CWORD": "1"}
    measures = {
        "import torch, transformers, peft, datasets": lambda: seconds([sys.executable, "-c", IMPORTS]),
        "the same, and the classes that are used": lambda: seconds([sys.executable, "-c", USED]),
        "python train.py trainer=hf, to its first step": lambda: first_step("hf"),
        "python train.py trainer=native, to its first step": lambda: first_step("native"),
        "finesweep --help": lambda: seconds([FINESWEEP, "--help"]),
        "tab completion": lambda: seconds([FINESWEEP], **complete),
        "python train.py --help": lambda: seconds([*TRAIN, "--help"]),
        "python train.py peft.rr=4 (refused)": lambda: seconds(mistake),
    }
    found: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(rounds + 1):  # the first round warms the disk
        for name, measure in measures.items():
            found[name].append(measure())
    base = found["import torch, transformers, peft, datasets"][1:]
    print("| what | s | / the imports (min to max) |\n|---|---|---|")
    for name, times in found.items():
        ratios = sorted(a / b for a, b in zip(times[1:], base, strict=True))
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"| {name} | {statistics.median(times[1:]):.2f} | {spread} |")


if __name__ == "__main__":
    main()
