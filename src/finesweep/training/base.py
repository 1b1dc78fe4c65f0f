"""What a trainer receives, what it offers, and the one channel out of it."""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from finesweep.errors import DataError, Fault
from finesweep.training.losses import Loss

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset
    from torch import Tensor

    Measure = Callable[[np.ndarray, np.ndarray], dict[str, float]]

logger = logging.getLogger(__name__)

# Stands among the speed-ups of a run that trained with others: training/packs.py.
PACKED = "packed"


class Decision(enum.IntEnum):
    """What a monitor asks for after an evaluation; of several monitors the strongest wins."""

    CONTINUE = 0
    STOP = 1
    PRUNE = 2


class Monitor:
    """Listen to a training run. Every method does nothing until a subclass says otherwise.

    Metric names start with their split: `train/loss`, `validation/accuracy`. The run sets `objective`, the
    name of the metric that picks the best checkpoint, before anything else happens.
    """

    objective = ""

    def on_begin(self, num_steps: int) -> None:
        """Training is about to do `num_steps` optimizer steps."""

    def on_log(self, step: int, metrics: dict[str, float]) -> None:
        """Training metrics were logged after `step` optimizer steps."""

    def on_evaluate(self, step: int, metrics: dict[str, float]) -> Decision:
        """The validation split was evaluated after `step` optimizer steps."""
        return Decision.CONTINUE

    def on_checkpoint(self, path: Path) -> None:
        """A checkpoint is in its place, whole; it is told before the next one is saved, or at the end."""


class Monitors(Monitor):
    """Several monitors as one.

    Args:
        monitors: each is told everything, in this order.
    """

    def __init__(self, monitors: Sequence[Monitor]) -> None:
        self.monitors = tuple(monitors)

    def tell_objective(self, name: str) -> None:
        """Tell every monitor which validation metric counts."""
        for monitor in self.monitors:
            monitor.objective = name

    def on_begin(self, num_steps: int) -> None:
        """Tell every monitor."""
        for monitor in self.monitors:
            monitor.on_begin(num_steps)

    def on_log(self, step: int, metrics: dict[str, float]) -> None:
        """Tell every monitor."""
        for monitor in self.monitors:
            monitor.on_log(step, metrics)

    def on_evaluate(self, step: int, metrics: dict[str, float]) -> Decision:
        """Tell every monitor, even after one has asked to stop, and return the strongest decision."""
        return max(
            (monitor.on_evaluate(step, metrics) for monitor in self.monitors), default=Decision.CONTINUE
        )

    def on_checkpoint(self, path: Path) -> None:
        """Tell every monitor."""
        for monitor in self.monitors:
            monitor.on_checkpoint(path)


@dataclass(frozen=True)
class Parts:
    """Parts of the validation split; a smaller one's texts are among those of a larger.

    Args:
        texts: how many the whole split has.
        take: of a number of texts, their encoded rows and what computes the metrics of these.
    """

    texts: int
    take: Callable[[int], tuple[Dataset, Measure]]


class Packing(Protocol):
    """Computes the steps of several trials at once: training/packs.py."""

    slots: int

    def join(self, work: Any) -> Any:
        """Return what does the steps of a trial here (training/steps.py)."""
        ...

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """Return what its trials have in common, made for the first of those that give an equal key.

        Args:
            key: of plain values.
            make: makes it; nobody changes it afterwards.
        """
        ...


@dataclass(frozen=True)
class TrainingTask:
    """All that a trainer needs beside its own settings.

    Args:
        model: the prepared model.
        train: columns `input_ids`, `attention_mask`, ..., `labels`.
        validation: the same columns; what evaluations during training have.
        collator: rows to a padded batch of shape (batch, sequence).
        compute_metrics: of the validation split, logits and labels to values; see finesweep.metrics.scores.
        objective: the validation metric that picks the best checkpoint.
        maximize: its direction.
        seed: of data order and dropout.
        checkpoints: the folder for checkpoints.
        monitors: who listens.
        start: the checkpoint to go on from.
        loss: what is minimised.
        speedups: names of those that are on, as finesweep.models.speedups has them.
        parts: takes a part of the validation split; None where there is only the whole.
        eval_rows: the texts of `validation` where that is a part of the split; None: it is the whole.
        pack: the trials that this one trains with; None: it trains alone.
        weights: a fingerprint of the frozen ones; trials of equal ones are packed together.
        initial: what an adapter's matrices started from, where that was taken out of the frozen weights.
        micro_batch: rows that are computed at a time, where a whole batch is known not to fit into memory.
    """

    model: Any
    train: Dataset
    validation: Dataset
    collator: Any
    compute_metrics: Measure
    objective: str
    maximize: bool
    seed: int
    checkpoints: Path
    monitors: Monitor
    start: Path | None = None
    loss: Loss = field(default_factory=Loss)
    speedups: tuple[str, ...] = ()
    parts: Parts | None = None
    eval_rows: int | None = None
    pack: Packing | None = None
    weights: str = ""
    initial: Mapping[str, Tensor] = field(default_factory=dict)
    micro_batch: int | None = None

    def __post_init__(self) -> None:
        for name, rows in (("train", self.train), ("validation", self.validation)):
            if "labels" not in rows.column_names:
                rule = f"The {name} split has no labels: there is nothing to learn from or to measure."
                raise DataError(
                    Fault(f"data ({name})", rule, fix="Set data.label_column to a column it has.")
                )

    def begin(self, num_steps: int) -> None:
        """Tell the monitors how long training will be, and the screen what is evaluated meanwhile."""
        if self.eval_rows is not None and self.parts is not None:
            logger.info(
                "evaluate   %s of %s validation texts while training goes on, all of them at the end "
                "(trainer.eval_rows)",
                f"{self.eval_rows:,}",
                f"{self.parts.texts:,}",
            )
        self.monitors.on_begin(num_steps)

    def known_logits(self, logits: np.ndarray | None) -> np.ndarray | None:
        """Return an evaluation's logits where they are of the whole validation split."""
        return logits if self.eval_rows is None else None


@dataclass(frozen=True)
class Fitted:
    """How training ended; the model holds its best weights.

    Args:
        steps: optimizer steps done.
        best_step: the step of the best evaluation.
        decision: PRUNE when a monitor asked for it.
        logits: of the validation split with the weights that the model now holds, where they are known.
        eval_rows: texts that evaluations during training had; None: the whole validation split.
        micro_batch: rows that were computed at a time, where memory didn't suffice for the batch that was
            asked for.
    """

    steps: int
    best_step: int
    decision: Decision
    logits: np.ndarray | None = None
    eval_rows: int | None = None
    micro_batch: int | None = None


class Trainer(Protocol):
    """One way to train. The contract suite in tests/ holds every implementation to the same behaviour."""

    def fit(self) -> Fitted:
        """Train, and leave the best checkpoint's weights in the model."""
        ...

    def predict(self, rows: Dataset) -> np.ndarray:
        """Return logits of shape (rows, labels), or (rows, tokens, labels), in the rows' order."""
        ...
