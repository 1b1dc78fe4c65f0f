"""Train a prepared model, and evaluate one that was saved."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from finesweep.config.build import build, register_resolvers
from finesweep.config.check import check
from finesweep.config.origin import Origin
from finesweep.config.saved import read_config
from finesweep.config.trust import check_trusted
from finesweep.models.weights import link_backbone
from finesweep.runs.anchoring import anchored_saved
from finesweep.runs.layout import RunFolder
from finesweep.runs.ledger import hash_of_test
from finesweep.runs.outcome import half_widths
from finesweep.runs.preparation import Prepared, prepare
from finesweep.runs.probing import probe
from finesweep.runs.sealing import MODEL, check_seal, seal
from finesweep.runs.unchanged import check_fingerprints
from finesweep.system.files import numbers_alone, write_json
from finesweep.system.records import RESULT, read_json
from finesweep.training.base import PACKED, Fitted, Monitor, Monitors, Parts, Trainer, TrainingTask
from finesweep.training.losses import Loss
from finesweep.training.own_loss import own_loss

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset


def fit(
    prepared: Prepared, folder: RunFolder, monitors: Monitor, checkpoint: Path | None = None
) -> tuple[Trainer, Fitted]:
    """Train a prepared model, from a checkpoint of its own if it has one (step 7)."""
    if prepared.adapted.is_peft:
        link_backbone(prepared.classifier, folder.backbone)
        for peft_config in prepared.adapted.model.peft_config.values():
            peft_config.base_model_name_or_path = str(folder.backbone)
    trainer = make_trainer(prepared, folder.checkpoints, monitors, checkpoint)
    with numbers_alone(folder.checkpoints):
        return trainer, trainer.fit()


def make_trainer(
    prepared: Prepared, checkpoints: Path, monitors: Monitor, checkpoint: Path | None = None
) -> Trainer:
    """Return the config's trainer for a prepared model.

    Args:
        prepared: what it trains, or predicts with.
        checkpoints: the folder where it keeps them.
        monitors: who listens.
        checkpoint: where training goes on from.
    """
    config, data = prepared.config, prepared.data

    def take(texts: int) -> tuple[Any, Any]:
        part = prepared.evaluator.part("validation", texts)
        return part.encoded.splits["validation"], functools.partial(part.metrics, "validation")

    task = TrainingTask(
        model=prepared.adapted.model,
        train=prepared.encoded.splits["train"],
        validation=prepared.encoded.splits["validation"],
        collator=prepared.encoder.collator(),
        compute_metrics=functools.partial(prepared.evaluator.metrics, "validation"),
        objective=config["objective"]["metric"],
        maximize=config["objective"]["direction"] == "maximize",
        seed=config["seed"],
        checkpoints=checkpoints,
        monitors=monitors,
        start=checkpoint,
        loss=Loss(data.schema.problem_type, data.class_weights, data.focal_gamma, data.schema.scale**2),
        speedups=prepared.speedups,
        parts=Parts(len(data.splits["validation"]), take),
        pack=prepared.pack if PACKED in prepared.speedups else None,
        weights=_weights_of(prepared),
        initial=prepared.adapted.initial,
        micro_batch=prepared.short.micro_batch if prepared.short else None,
    )
    trainer = config["trainer"]
    if trainer.get("loss"):
        check_trusted(trainer, "trainer")
        trainer = {**trainer, "loss": own_loss(trainer["loss"])}
    return build(trainer, task=task)


def _weights_of(prepared: Prepared) -> str:
    """Return what the frozen weights are known by; random ones, which aren't hashed, by their seed."""
    hashed = prepared.fingerprints["model"]["weights"]
    return f"{hashed} {prepared.config['seed']}" if prepared.classifier.is_random else hashed


class Timed:
    """A trainer whose last prediction is timed.

    Args:
        trainer: the trainer.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer, self._seconds = trainer, 0.0

    def fit(self) -> Fitted:
        """Train."""
        return self._trainer.fit()

    def predict(self, rows: Dataset) -> np.ndarray:
        """Return the rows' logits, and note how long they took."""
        begin = time.monotonic()
        logits = self._trainer.predict(rows)
        self._seconds = time.monotonic() - begin
        return logits

    def took(self, prepared: Prepared, split: str) -> dict[str, Any]:
        """Return what result.json says of how long the last prediction took, which was of a split."""
        device = next(prepared.adapted.model.parameters()).device.type
        texts, seconds = len(prepared.data.splits[split]), round(self._seconds, 4)
        return {"prediction": {"texts": texts, "seconds": seconds, "device": device}}


def evaluate_saved(
    folder: RunFolder, split: str, secrets: Mapping[str, Any] | None = None
) -> dict[str, float]:
    """Evaluate a finished run's saved weights on a split, and add the metrics to its result.json.

    Args:
        folder: of a complete run.
        split: `validation` or `test`.
        secrets: values, by key, that were masked when the run was saved.
    """
    register_resolvers()
    saved = OmegaConf.create(read_config(folder.config))
    for key, value in (secrets or {}).items():
        OmegaConf.update(saved, key, value)
    saved = anchored_saved(saved, folder.path)
    check_seal(folder, MODEL)
    config = check(saved, Origin(path=str(folder.config)))
    prepared = prepare(config, folder.adapter, speedups_of=folder.provenance)
    check_fingerprints(folder, prepared.fingerprints)
    trainer = Timed(make_trainer(prepared, folder.checkpoints, Monitors([])))
    metrics = prepared.evaluator.finish(folder, trainer, split)
    result = read_json(folder.result, RESULT)
    baseline = {**result.get("baseline", {}), **prepared.evaluator.baseline(split)}
    beside = {**result.get("probe", {}), **probe(prepared, [split])}
    known = {**result["metrics"], **metrics}
    widths = half_widths(folder, result["objective"]["metric"], known)
    found = {"metrics": known, "baseline": baseline, "probe": beside, **widths}
    read = hash_of_test(prepared.data) if split == "test" else {}
    write_json(folder.result, {**result, **found, **trainer.took(prepared, split), **read})
    seal(folder)
    return metrics
