"""Every table of a GPU in one command: what can be recorded, its bits, times of a step.

    python benchmarks/gpu.py [capture bits fallback steps methods] [--minutes 6] [--device cuda]

It needs no network and no optional package: models have the shapes of real ones and random weights, texts
are random token ids. A section that fails prints its traceback, and the others go on. With `--device cpu`
everything runs but the capture.
"""

from __future__ import annotations

import argparse
import copy
import logging
import os
import shutil
import statistics
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline", "TOKENIZERS_PARALLELISM": "false"}

import numpy as np
import torch
import transformers
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from steps import ARGUMENTS, BATCH, RATE, now
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch.utils.data import DataLoader
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast

from finesweep.models import speedups
from finesweep.system.randomness import seed_everything
from finesweep.training import Monitor, TrainingTask
from finesweep.training.feeds import make_feed
from finesweep.training.graphs import CudaRecorder, GraphSteps
from finesweep.training.hf import hf_trainer
from finesweep.training.loop import NativeTrainer
from finesweep.training.native import native_trainer
from finesweep.training.settings import read_keys
from finesweep.training.steps import Work

TOKENS, LABELS = 64, 5
GRAPH = ("cuda-graph",)
MINILM = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
SHAPES = {
    "MiniLM": ("bert", MINILM),
    "BERT-base": ("bert", {}),
    "BERT-large": (
        "bert",
        {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
    ),
}
SMALL = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 256}
FAMILIES: dict[str, dict[str, Any]] = {
    "bert": SMALL,
    "roberta": {**SMALL, "max_position_embeddings": 514, "pad_token_id": 1},
    "distilbert": {"dim": 128, "n_layers": 2, "n_heads": 4, "hidden_dim": 256},
    "electra": {**SMALL, "embedding_size": 128},
    "albert": {**SMALL, "embedding_size": 32},
    "mpnet": {**SMALL, "max_position_embeddings": 514, "pad_token_id": 1},
    "deberta-v2": {
        **SMALL,
        "relative_attention": True,
        "position_buckets": 16,
        "pos_att_type": ["p2c", "c2p"],
    },
    "modernbert": {**SMALL, "global_attn_every_n_layers": 2, "local_attention": 16},
    "eurobert": {**SMALL, "num_key_value_heads": 2},
}
PRECISIONS: dict[str, dict[str, Any]] = {
    "fp32": {"tf32": False},
    "TF32": {"tf32": True},
    "bf16": {"bf16": True},
}
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
said: list[str] = []
deadline = 0.0


class Notes(logging.Handler):
    """Keeps what finesweep says of recording."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        if "cuda-graph" in record.getMessage():
            said.append(record.getMessage().partition("cuda-graph")[2].strip(": "))


class Listener(Monitor):
    """Keeps losses and norms."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.norms: list[float] = []

    def on_log(self, step: int, metrics: dict[str, float]) -> None:
        """Keep a step's."""
        self.losses.append(metrics["train/loss"])
        self.norms.append(metrics["train/grad_norm"])


class Unrecorded(NativeTrainer):
    """The trainer whose steps would be recorded, launching each kernel instead: same buffers, same bits?"""

    def _make_steps(self) -> GraphSteps:
        work = Work(self._task, self._args, self._accelerator, self._model, self._optimizer)
        feed, _ = make_feed(self._task, self._loader, 10_000, self._accelerator.device)
        from finesweep.models.masked_attention import mask_always

        mask_always(self._task.model)
        return GraphSteps(work, feed, lambda function: function)


def unrecorded(*, task: TrainingTask, **keys: Any) -> NativeTrainer:
    """Return the trainer that launches each kernel."""
    task = TrainingTask(**{**vars(task), "speedups": GRAPH})
    return Unrecorded(task, *read_keys(task, **keys))


def make_model(model_type: str, settings: dict[str, Any], dropout: float = 0.1) -> Any:
    """Return a random encoder with a head."""
    names = ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout",
             "seq_classif_dropout", "mlp_dropout", "embedding_dropout", "classifier_dropout")  # fmt: skip
    special = {"pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2}
    settings = {"vocab_size": 30522, "num_labels": LABELS, **special, **settings}
    config = AutoConfig.for_model(model_type, **settings)
    for name in names:
        if hasattr(config, name):
            setattr(config, name, dropout)
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_config(config)


def with_lora(model: Any, dropout: float = 0.1, targets: Any = "all-linear") -> Any:
    """Return the model with LoRA on all linear layers of the backbone."""
    if targets == "all-linear":
        prefix = type(model).base_model_prefix
        targets = [
            name for name, module in model.named_modules()
            if type(module) is torch.nn.Linear and name.startswith(f"{prefix}.") and "pooler" not in name
        ]  # fmt: skip
    parts = [(name, part) for name, part in model.named_children() if list(part.parameters())]
    head = [name for name, _ in parts if name != type(model).base_model_prefix]
    torch.manual_seed(1)
    config = LoraConfig(
        r=8, lora_alpha=16, lora_dropout=dropout, target_modules=targets, modules_to_save=head
    )
    return get_peft_model(model, config)


def make_rows(count: int, shortest: int = TOKENS, longest: int = TOKENS) -> Dataset:
    """Return random texts with labels that the first token tells."""
    numbers = np.random.default_rng(0)
    lengths = numbers.integers(shortest, longest + 1, count)
    ids = [numbers.integers(1000, 30000, length).tolist() for length in lengths]
    columns = {"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids]}
    return Dataset.from_dict({**columns, "labels": [row[0] % LABELS for row in ids]})


def make_collator(pad: int = 0) -> Any:
    """Return transformers' collator."""
    words = {f"w{i}": i for i in range(30522)}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel(words, unk_token="w3")))
    tokenizer.pad_token = f"w{pad}"
    return transformers.DataCollatorWithPadding(tokenizer)


def fit(make: Callable[..., Any], model: Any, rows: Dataset, folder: Path, names: tuple[str, ...] = (),
        collator: Any = None, start: Path | None = None, seed: int = 0, **keys: Any) -> Listener:  # fmt: skip
    """Train with one of finesweep's trainers from a seed, and return what was heard."""
    listener = Listener()
    seed_everything(seed, torch.get_num_threads())
    collator = collator or make_collator()
    some = rows.select(range(16))
    task = TrainingTask(model, rows, some, collator, lambda *_: {"accuracy": 0.0}, "accuracy", True, 0,
                        folder, listener, start=start, speedups=names)  # fmt: skip
    said.clear()
    cpu = {} if device.type == "cuda" else {"use_cpu": True}
    make(task=task, **{**ARGUMENTS, **cpu, **keys}).fit()
    return listener


def weights_of(model: Any) -> torch.Tensor:
    """Return the trained weights as one vector."""
    return torch.cat([w.detach().flatten().float().cpu() for w in model.parameters() if w.requires_grad])


def gap(one: Any, other: Any) -> str:
    """Say how far two lists of numbers are apart."""
    one, other = torch.as_tensor(one), torch.as_tensor(other)
    if one.shape != other.shape:
        return f"shapes {tuple(one.shape)} and {tuple(other.shape)}"
    return "EQUAL" if torch.equal(one, other) else f"{(one - other).abs().max().item():.2e}"


def note() -> str:
    """Say whether steps were recorded, as finesweep did."""
    return " / ".join(said) or "nothing said"


@contextmanager
def temporary() -> Iterator[Path]:
    """Give a folder."""
    folder = Path(tempfile.mkdtemp())
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def attempt(name: str, function: Callable[[], Any]) -> None:
    """Do a part, and print why where it fails."""
    if time.monotonic() > deadline:
        print(f"| {name} | no time left |", flush=True)
        return
    try:
        function()
    except Exception:
        print(f"| {name} | FAILED |\n{traceback.format_exc(limit=-6)}", flush=True)


def capture() -> None:
    """Which families can be recorded, and how far a recorded training is from an ordinary one."""
    print("## Recorded against ordinary steps: 30 steps, no dropout, texts of 10 to 60 tokens, 90 rows\n")
    print("| family | losses apart | norms apart | weights apart | said |\n|---|---|---|---|---|")
    rows = make_rows(90, 10, 60)

    def one(family: str, settings: dict[str, Any], **keys: Any) -> None:
        collator = make_collator(settings.get("pad_token_id", 0))
        found = []
        for names in ((), GRAPH):
            model = with_lora(make_model(family, settings, 0.0), 0.0)
            make = unrecorded if names and device.type == "cpu" else native_trainer
            with temporary() as folder:
                heard = fit(make, model, rows, folder, names, collator, max_steps=30, **keys)
            found.append((heard.losses, heard.norms, weights_of(model)))
        gaps = [gap(a, b) for a, b in zip(*found, strict=True)]
        print(f"| {family} {keys or ''} | {' | '.join(gaps)} | {note()} |", flush=True)

    for family, settings in FAMILIES.items():
        attempt(family, lambda family=family, settings=settings: one(family, settings))
    for keys in (
        {"gradient_accumulation_steps": 4},
        {"bf16": True},
        {"weight_decay": 0.1, "optim": "adamw_torch"},
    ):
        attempt(str(keys), lambda keys=keys: one("bert", SMALL, **keys))
    attempt("full", _full)


def _full() -> None:
    """Train all the weights: the embeddings' gradient is a scattered sum."""
    rows, found = make_rows(90, 10, 60), []
    for names in ((), GRAPH, GRAPH):
        model = make_model("bert", SMALL, 0.0)
        with temporary() as folder:
            heard = fit(native_trainer, model, rows, folder, names, max_steps=30)
        found.append((heard.losses, heard.norms, weights_of(model)))
    gaps = [gap(a, b) for a, b in zip(*found[:2], strict=True)]
    print(
        f"| bert, all weights | {' | '.join(gaps)} | {note()}; twice: {gap(found[1][2], found[2][2])} |",
        flush=True,
    )


def bits() -> None:
    """Whether recorded trainings are equal to the last bit: twice, unrecorded, resumed."""
    print("\n## Bits of 40 steps with dropout 0.1, texts of 10 to 60 tokens\n")
    print("| what | bert, fp32 | bert, bf16 | modernbert, TF32 |\n|---|---|---|---|")
    cells: dict[str, list[str]] = {}
    cases = [("bert", {"tf32": False}), ("bert", {"bf16": True}), ("modernbert", {"tf32": True})]
    for family, keys in cases:
        attempt(f"bits of {family} {keys}", lambda family=family, keys=keys: _bits_of(family, keys, cells))
    for name, found in cells.items():
        print(f"| {name} | {' | '.join(found)} |", flush=True)


def _bits_of(family: str, keys: dict[str, Any], cells: dict[str, list[str]]) -> None:
    rows = make_rows(200, 10, 60)
    keys = keys if device.type == "cuda" else {}

    def train(
        make: Any = native_trainer,
        start: Path | None = None,
        folder: Path | None = None,
        seed: int = 0,
        **more: Any,
    ) -> tuple[Any, Any]:
        model = with_lora(make_model(family, FAMILIES[family]))
        with temporary() as own:
            heard = fit(make, model, rows, folder or own, GRAPH, start=start, seed=seed, **{
                "max_steps": 40, **keys, **more})  # fmt: skip
        return heard.losses, weights_of(model)

    def compare(name: str, other: tuple[Any, Any]) -> None:
        cells.setdefault(name, []).append(f"{gap(first[0], other[0])}, {gap(first[1], other[1])}")

    first = train()
    compare("recorded twice: losses, weights", train())
    compare("recorded and unrecorded", train(unrecorded))
    compare("another seed (must differ)", train(seed=1))
    with temporary() as folder:
        saved = {"save_strategy": "steps", "save_steps": 15}
        compare("with checkpoints on the way", train(folder=folder, **saved))
        start = next(folder.glob("checkpoint-15"))
        losses, weights = train(start=start)
        name = f"resumed at step 15 of 40 ({len(losses)} steps)"
        cells.setdefault(name, []).append(
            f"{gap(first[0][-len(losses) :], losses)}, {gap(first[1], weights)}"
        )
    steps = max(1, len(first[0]))
    name = "losses of the first and last 5 steps"
    cells.setdefault(name, []).append(
        f"{np.mean(first[0][:5]):.3f}, {np.mean(first[0][-5:]):.3f} ({steps} steps; {note()})"
    )
    attempt("fresh masks", lambda: _fresh_masks(family, keys, cells))


def _fresh_masks(family: str, keys: dict[str, Any], cells: dict[str, list[str]]) -> None:
    """With rate 0 and one batch again and again, only dropout makes losses differ."""
    rows = make_rows(16, 64, 64)
    model = with_lora(make_model(family, FAMILIES[family]))
    with temporary() as folder:
        heard = fit(
            native_trainer, model, rows, folder, GRAPH, max_steps=40, **{**keys, "learning_rate": 0.0}
        )
    cells.setdefault("different losses of 40 steps at rate 0", []).append(str(len(set(heard.losses))))


class Waiting(torch.nn.Module):
    """A head that asks the device for a number."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Look at a value."""
        return self.inner(values) * (1.0 if values.sum().item() != 0 else 2.0)


def fallback() -> None:
    """What can't be recorded trains on as it would have."""
    print("\n## Falling back: 20 steps, dropout 0.1, a head that waits for the device\n")
    rows, found = make_rows(90, 10, 60), []
    for make in (native_trainer, unrecorded):
        model = make_model("bert", SMALL)
        model.classifier = Waiting(model.classifier)
        with temporary() as folder:
            heard = fit(make, with_lora(model), rows, folder, GRAPH, max_steps=20)
        found.append((heard.losses, weights_of(model)))
        print(f"said: {note()}", flush=True)
    print(
        f"against unrecorded: losses {gap(found[0][0], found[1][0])}, weights {gap(found[0][1], found[1][1])}"
    )
    model = with_lora(make_model("bert", SMALL))
    with temporary() as folder:
        heard = fit(native_trainer, model, rows, folder, GRAPH, max_steps=20)
    print(
        f"a model that can be, afterwards: {note()}; {len(heard.losses)} losses, last {heard.losses[-1]:.3f}"
    )
    x = torch.randn(4, 4, device=device)
    print("dropout and a product still work:", torch.nn.functional.dropout(x @ x, 0.5).shape, flush=True)
    for name, keys in {"SGD": {"optim": "sgd"}, "checkpointing": {"activation_checkpointing": True}}.items():
        model = with_lora(make_model("bert", SMALL))
        with temporary() as folder:
            fit(native_trainer, model, rows, folder, GRAPH, max_steps=3, **keys)
        print(f"{name}: {note()}", flush=True)


class Windows(Monitor):
    """Nothing is logged within a window, so that nothing waits."""


def bare(model: Any, rows: Dataset, steps: int, precision: str) -> None:
    """Train with the shortest loop one would write."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.0, fused=True)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, 0, steps)
    loader = DataLoader(rows, batch_size=BATCH, shuffle=True, collate_fn=make_collator(), pin_memory=True)  # type: ignore[arg-type]
    torch.backends.cuda.matmul.allow_tf32 = precision == "TF32"
    model.train()
    done = 0
    while done < steps:
        for batch in loader:
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                loss = model(
                    **{name: values.to(device, non_blocking=True) for name, values in batch.items()}
                ).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            done += 1
            if done == steps:
                return


def plain_trainer(model: Any, rows: Dataset, steps: int, precision: str) -> None:
    """Train with transformers.Trainer, logging as the others do."""
    with temporary() as folder:
        keys = {**ARGUMENTS, **(PRECISIONS[precision] if device.type == "cuda" else {}), "logging_steps": 100}
        quiet: dict[str, Any] = {"report_to": "none", "disable_tqdm": True, "label_names": ["labels"]}
        args = transformers.TrainingArguments(str(folder), max_steps=steps, **quiet, **keys)
        trainer = transformers.Trainer(model, args, make_collator(), rows)  # type: ignore[arg-type]
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()


def ours(make: Any, names: tuple[str, ...] = ()) -> Callable[..., None]:
    """Return a peer that trains with one of finesweep's trainers."""

    def train(model: Any, rows: Dataset, steps: int, precision: str) -> None:
        keys = PRECISIONS[precision] if device.type == "cuda" else {}
        with temporary() as folder:
            fit(make, model, rows, folder, names, max_steps=steps, logging_steps=100, **keys)

    return train


def half_frozen(make: Any) -> Callable[..., None]:
    """Return a peer whose frozen matrices are held in bf16."""

    def train(model: Any, rows: Dataset, steps: int, precision: str) -> None:
        for module in model.modules():
            if isinstance(module, torch.nn.Linear) and not module.weight.requires_grad:
                module.to(torch.bfloat16)
        ours(make, GRAPH)(model, rows, steps, precision)

    return train


def first_token(make: Any, names: tuple[str, ...]) -> Callable[..., None]:
    """Return a peer with the last layer for the first token alone."""

    def train(model: Any, rows: Dataset, steps: int, precision: str) -> None:
        speedups.apply(model, ["first-token"])
        ours(make, names)(model, rows, steps, precision)

    return train


def math_attention(make: Any) -> Callable[..., None]:
    """Return a peer whose attention is plain products, which are deterministic."""

    def train(model: Any, rows: Dataset, steps: int, precision: str) -> None:
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            ours(make, GRAPH)(model, rows, steps, precision)

    return train


def strict(make: Any) -> Callable[..., None]:
    """Return a peer under torch's strict determinism, which sdpa's backward obeys."""

    def train(model: Any, rows: Dataset, steps: int, precision: str) -> None:
        relaxed = torch.use_deterministic_algorithms

        def always(mode: bool, *, warn_only: bool = False) -> None:
            relaxed(mode)

        torch.use_deterministic_algorithms = always  # seed_everything asks for warnings only
        try:
            ours(make, GRAPH)(model, rows, steps, precision)
        finally:
            torch.use_deterministic_algorithms = relaxed
            relaxed(True, warn_only=True)

    return train


def milliseconds(train: Callable[..., None], shape: str, rows: Dataset, precision: str, steps: int,
                 windows: int) -> list[float]:  # fmt: skip
    """Return ms a step: a training's time less that of one with `steps` fewer steps."""
    found = []
    model_type, settings = SHAPES[shape]
    base = with_lora(make_model(model_type, settings))
    short = 12
    for _ in range(windows):
        took = []
        for count in (short, short + steps):
            model = copy.deepcopy(base).to(device)
            start = now()
            train(model, rows, count, precision)
            took.append(now() - start)
        found.append(1000 * (took[1] - took[0]) / steps)
    if min(found) <= 0:
        raise ValueError(f"A step can't take {min(found):.2f} ms: the machine was busy with something else.")
    return found


def steps() -> None:
    """Time a step of each peer."""
    is_gpu = device.type == "cuda"
    rows = make_rows(1600)
    precisions = tuple(PRECISIONS) if is_gpu else ("fp32",)
    print(f"\n## A step, {BATCH} x {TOKENS} tokens, LoRA on all linear layers, dropout 0.1, medians\n")
    print("| shape | precision | peer | ms | range | / Trainer | said |\n|---|---|---|---|---|---|---|")
    count, windows = (60, 3) if is_gpu else (2, 1)
    for shape in ("MiniLM", "BERT-base") if is_gpu else ("MiniLM",):
        for precision in precisions:
            peers: dict[str, Callable[..., None]] = {
                "transformers.Trainer": plain_trainer,
                "bare loop": bare,
                "hf": ours(hf_trainer),
                "native": ours(native_trainer),
                "native, cuda-graph": ours(native_trainer, GRAPH),
                "native, cuda-graph, first-token": first_token(native_trainer, GRAPH),
            }
            if precision == "bf16":
                peers["native, cuda-graph, frozen in bf16"] = half_frozen(native_trainer)
            if precision != "fp32":
                peers["native, cuda-graph, math attention"] = math_attention(native_trainer)
                peers["native, cuda-graph, strict determinism"] = strict(native_trainer)
            base: list[float] = []
            for name, train in peers.items():

                def one(name: str = name, train: Any = train, shape: str = shape, precision: str = precision,
                        base: list[float] = base) -> None:  # fmt: skip
                    said.clear()
                    found = milliseconds(train, shape, rows, precision, count, windows)
                    middle = statistics.median(found)
                    base[:] = base or [middle]
                    ends = f"{min(found):.2f} to {max(found):.2f}"
                    cells = f"{middle:.2f} | {ends} | {middle / base[0]:.2f} | {' / '.join(said[:1])}"
                    print(f"| {shape} | {precision} | {name} | {cells} |", flush=True)

                attempt(f"{shape} {precision} {name}", one)
    attempt("recording", _recording)


def _recording() -> None:
    """What the first steps and the capture cost, and the host's share of a step."""
    if device.type != "cuda":
        return
    print("\n## What recording costs, MiniLM\n")
    model = with_lora(make_model(*SHAPES["MiniLM"])).to(device)
    took = []
    original = CudaRecorder.__call__

    def timed(self: CudaRecorder, function: Any) -> Any:
        call = original(self, function)

        def wrapped() -> None:
            start = now()
            call()
            took.append((time.perf_counter() - start, now() - start))

        return wrapped

    CudaRecorder.__call__ = timed  # type: ignore[method-assign]
    try:
        with temporary() as folder:
            fit(native_trainer, model, make_rows(1600, 10, 64), folder, GRAPH, max_steps=100, tf32=True)
    finally:
        CudaRecorder.__call__ = original  # type: ignore[method-assign]
    print("ms of each call, all of it:", " ".join(f"{1000 * whole:.1f}" for _, whole in took[:30]))
    print("ms on the host:", " ".join(f"{1000 * host:.2f}" for host, _ in took[:30]))
    print(note(), flush=True)


def methods() -> None:
    """Which of finesweep's methods can be recorded."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from finesweep.config.build import build, register_resolvers
    from finesweep.models.adapters import attach, with_listed_targets
    from finesweep.models.classifier import Classifier
    from finesweep.system.places import config_folder

    print("\n## Methods: 12 steps of a small BERT without dropout, recorded against ordinary\n")
    print("| method | losses apart | weights apart | said |\n|---|---|---|---|")
    register_resolvers()
    rows = make_rows(90, 10, 30)

    def one(name: str) -> None:
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            config = compose("train", [f"peft={name}"])
            node: Any = OmegaConf.to_container(config.peft, resolve=True)
            for key in [key for key in node if "dropout" in str(key)]:
                node[key] = 0.0
        found = []
        for names in ((), GRAPH):
            model = make_model("bert", MINILM | {"num_hidden_layers": 2}, 0.0)
            adapted = attach(Classifier(model, ("classifier",), "random", None, is_random=True),
                             build(with_listed_targets(copy.deepcopy(node))))  # fmt: skip
            with temporary() as folder:
                heard = fit(native_trainer, adapted.model, rows, folder, names, max_steps=12)
            found.append((heard.losses, weights_of(adapted.model)))
        gaps = [gap(a, b) for a, b in zip(*found, strict=True)]
        print(f"| {name} | {' | '.join(gaps)} | {note()} |", flush=True)

    for file in sorted((config_folder() / "peft").glob("*.yaml")):
        attempt(file.stem, lambda name=file.stem: one(name))


SECTIONS = {"capture": capture, "bits": bits, "fallback": fallback, "steps": steps, "methods": methods}


def main() -> None:
    """Run the sections that were asked for."""
    global device, deadline
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", help=f"of {', '.join(SECTIONS)}; all when left out")
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--device", default=device.type)
    options = parser.parse_args()
    device = torch.device(options.device)
    deadline = time.monotonic() + 60 * options.minutes
    logging.getLogger("finesweep").addHandler(Notes())
    logging.getLogger("finesweep").setLevel(logging.INFO)
    transformers.logging.set_verbosity_error()
    warnings.simplefilter("default")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"{name}; torch {torch.__version__}, transformers {transformers.__version__}; "
          f"{torch.get_num_threads()} threads\n", flush=True)  # fmt: skip
    for section in options.sections or SECTIONS:
        start = time.monotonic()
        attempt(section, SECTIONS[section])
        print(f"\n[{section}: {time.monotonic() - start:.0f} s]\n", flush=True)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
