"""Padding: every batch to max_length, to its longest text, or to it with texts of like length together.

    python benchmarks/batching.py [--rows 1600] [--rounds 3]

MiniLM with LoRA, one epoch on sentences of BBC News (their article's topic is the label), at most 128 tokens.
Examples per second of training and evaluation, and the accuracy on 400 sentences of other articles.
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import transformers
from datasets import Dataset
from step_overhead import DATA, MODEL, make_model

from finesweep.data.sources import text_folders
from finesweep.system.console import quiet_libraries
from finesweep.training import Monitor, TrainingTask
from finesweep.training.native import native_trainer

TOKENS = 128
TARGETS = ["query", "key", "value", "dense"]


def sentences(count: int, seed: int) -> tuple[Dataset, Dataset, Any]:
    """Return training sentences, 400 validation sentences of other articles, and the tokenizer."""
    articles = text_folders(DATA, encoding_errors="replace").shuffle(seed=seed)  # type: ignore[union-attr]
    names = sorted(set(articles["label"][:]))
    tokenizer = transformers.AutoTokenizer.from_pretrained(MODEL)
    parts = []
    for start, stop, wanted in ((0, 1500, count), (1500, 2225, 400)):
        rows = articles.select(range(start, stop))
        pairs = [
            (sentence, names.index(row["label"]))
            for row in rows
            for sentence in re.split(r"(?<=[.!?])\s+|\n+", row["text"])
            if len(sentence) > 20
        ]
        order = np.random.default_rng(seed).permutation(len(pairs))[:wanted]
        texts, labels = zip(*(pairs[i] for i in order), strict=True)
        encoded = tokenizer(list(texts), truncation=True, max_length=TOKENS)
        parts.append(Dataset.from_dict({**encoded, "labels": list(labels)}))
    return parts[0], parts[1], tokenizer


def train(strategy: str, padding: Any, train_rows: Dataset, validation: Dataset, tokenizer: Any):
    """Train an epoch and evaluate; return examples per second and the accuracy."""
    collator = transformers.DataCollatorWithPadding(tokenizer, padding=padding, max_length=TOKENS)
    model = make_model(TARGETS, "auto")
    with tempfile.TemporaryDirectory() as folder:
        parts = (model, train_rows, validation, collator, lambda *_: {}, "accuracy", True, 0, Path(folder))
        trainer = native_trainer(
            task=TrainingTask(*parts, Monitor()),
            train_sampling_strategy=strategy,
            per_device_train_batch_size=16,
            per_device_eval_batch_size=64,
            learning_rate=2e-3,
            num_train_epochs=1,
            warmup_steps=0.1,
            eval_strategy="no",
            save_strategy="no",
            load_best_model_at_end=False,
        )
        start = time.perf_counter()
        trainer.fit()
        logits = trainer.predict(validation)
        took = time.perf_counter() - start
    right = (logits.argmax(-1) == np.asarray(validation["labels"][:])).mean()
    return (len(train_rows) + len(validation)) / took, float(right)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1600)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    quiet_libraries()
    ways = {
        "max_length": ("random", "max_length"),
        "longest of the batch": ("random", True),
        "longest, like lengths together": ("group_by_length", True),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for seed in range(options.rounds):
        data = sentences(options.rows, seed)
        for name, (strategy, padding) in ways.items():
            found[name].append(train(strategy, padding, *data))
    print("| padded to | examples/s | times max_length (min to max) | accuracy, mean (min to max) |")
    print("|---|---|---|---|")
    for name, results in found.items():
        speeds, base = [s for s, _ in results], [s for s, _ in found["max_length"]]
        ratios = sorted(a / b for a, b in zip(speeds, base, strict=True))
        right = sorted(value for _, value in results)
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        quality = f"{statistics.mean(right):.3f} ({right[0]:.3f} to {right[-1]:.3f})"
        print(f"| {name} | {statistics.median(speeds):.0f} | {spread} | {quality} |")


if __name__ == "__main__":
    main()
