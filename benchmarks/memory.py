"""Memory and CPU time of a run on a file of a million short rows.

    python benchmarks/memory.py [--rows 1000000] [--steps 10]

The rows are nine words of a made-up language and a number, with two labels. All are read, checked, split and
tokenised to 16 tokens at most; MiniLM with LoRA takes its steps, and is evaluated on 1,000 rows each of
validation and test.
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

TRAIN = Path(__file__).parents[1] / "train.py"
WORDS = 9
EVALUATED = 1000
LABELS = ("good", "bad")


def write_rows(path: Path, count: int) -> None:
    """Write a CSV file of random words, each row with the name of its label among them."""
    draw = random.Random(0)
    syllables = ("ka", "lo", "mi", "ne", "ru", "so", "ta", "vi")
    words = ["".join(draw.choices(syllables, k=2)) for _ in range(1000)]
    with path.open("w") as file:
        file.write("text,label\n")
        for row in range(count):
            label = LABELS[row % 2]
            file.write(f"{' '.join([*draw.choices(words, k=WORDS - 1), label])} {row},{label}\n")


def main() -> None:
    """Run it and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    print(f"| {options.rows:,} rows | MiB resident, at most | CPU, s |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_rows(folder / "rows.csv", options.rows)
        words = [
            f"data.source.train={folder / 'rows.csv'}",
            f"trainer.max_steps={options.steps}",
            "name=many",
        ]
        share = EVALUATED / options.rows
        words += [f"data.split.validation={share}", f"data.split.test={share}", "tokenizer.max_length=16"]
        command = [sys.executable, str(TRAIN), "data=csv", "tracker=none", *words]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"| {options.steps} steps | {used.ru_maxrss / 2**10:,.0f} | {used.ru_utime + used.ru_stime:.0f} |")


if __name__ == "__main__":
    main()
