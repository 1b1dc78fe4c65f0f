"""What a linear model on the frozen encoder's embeddings is worth: measured once, then kept."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep.config.build import build
from finesweep.data.labels import TOKENS
from finesweep.metrics.probes import Probe, fit_probe
from finesweep.metrics.scores import label_array
from finesweep.models.embeddings import mean_embeddings
from finesweep.runs.evaluation import named
from finesweep.system.cache import writable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from finesweep.runs.preparation import Prepared

logger = logging.getLogger(__name__)

TRAIN_ROWS = 1_000  # more of them move a probe's score little, and take longer than one waits for it


def probe(prepared: Prepared, splits: Sequence[str]) -> dict[str, float]:
    """Return the metrics of some splits, such as `test/accuracy`; empty where there is no probe.

    Words have none, nor models without a backbone of transformers' kind; `baseline: none` leaves it out. The
    pretrained weights are loaded afresh, since training has changed those at hand.

    Args:
        prepared: the run.
        splits: which; no other than these and train is read.
    """
    has_backbone = not prepared.classifier.is_plain and hasattr(prepared.classifier.model, "base_model")
    is_wanted = prepared.config.get("baseline", "none") != "none"
    if not splits or not is_wanted or not has_backbone or prepared.data.schema.problem_type == TOKENS:
        return {}
    try:
        return _probe(prepared, splits)
    except Exception as error:  # the run is complete, and a number beside its own doesn't take that away
        logger.warning("probe      couldn't be measured: %s: %s", type(error).__name__, error)
        return {}


def _probe(prepared: Prepared, splits: Sequence[str]) -> dict[str, float]:
    import numpy as np
    from filelock import FileLock

    folder = writable("probes") / _key(prepared)
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "lock"):  # workers that begin at once would measure the same
        missing = [split for split in splits if not (folder / f"{split}.npy").is_file()]
        if missing:
            _measure(prepared, missing, folder)
        known = {split: np.load(folder / f"{split}.npy") for split in splits}
    found: dict[str, float] = {}
    for split, logits in known.items():  # a metric of the user's own may have changed since
        labels = label_array(prepared.encoded.splits[split])
        found |= named(split, prepared.evaluator.metrics(split, logits, labels))
    return found


def _key(prepared: Prepared) -> str:
    """Hash what a probe's logits depend on."""
    content: list[Any] = [TRAIN_ROWS, prepared.fingerprints]
    if prepared.classifier.is_random:
        content.append(prepared.config["seed"])
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _measure(prepared: Prepared, splits: Sequence[str], folder: Path) -> None:
    import numpy as np
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(prepared.config["seed"])  # as in preparation.py
        model = build(prepared.config["model"], schema=prepared.data.schema).model
    head = _fitted(prepared, model)
    for split in splits:
        staging = folder / f"{split}.partial.npy"
        np.save(staging, head(_embeddings(prepared, model, prepared.encoded.splits[split])))
        staging.replace(folder / f"{split}.npy")


def _fitted(prepared: Prepared, model: Any) -> Probe:
    rows = prepared.evaluator.part("train", TRAIN_ROWS).encoded.splits["train"]
    return fit_probe(_embeddings(prepared, model, rows), label_array(rows), prepared.data.schema)


def _embeddings(prepared: Prepared, model: Any, rows: Any) -> np.ndarray:
    return mean_embeddings(model, rows, prepared.encoder.collator())
