"""What a prepared run's outputs are worth: metrics, thresholds, the baseline, prediction files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from finesweep.data.labels import MULTI, REGRESSION, SINGLE, TOKENS
from finesweep.data.splits import limited
from finesweep.data.tags import tag_names
from finesweep.metrics import baseline, compute_metrics, mean_loss, tune_thresholds
from finesweep.metrics.scores import Scored, label_array, pooled, score
from finesweep.runs.labels import read_labels, write_labels
from finesweep.runs.layout import RunFolder
from finesweep.runs.outcome import write_predictions
from finesweep.system import distributed
from finesweep.system.records import read_lines
from finesweep.training.base import Decision, Fitted, Trainer

if TYPE_CHECKING:
    import numpy as np

    from finesweep.data import TextData
    from finesweep.data.labels import LabelSchema
    from finesweep.tokenization.notes import Encoded
    from finesweep.tokenization.settings import Pooling


@dataclass(frozen=True)
class Evaluator:
    """Compute the metrics of a run's splits.

    Args:
        data: the splits, the label schema and the chosen metrics.
        encoded: the same splits as tokens.
        pooling: what becomes of a text's windows.
    """

    data: TextData
    encoded: Encoded
    pooling: Pooling = "mean"

    def measure(
        self, split: str, logits: np.ndarray, labels: np.ndarray, thresholds: Sequence[float] | None = None
    ) -> tuple[Scored, dict[str, float]]:
        """Return a split's predictions and metrics.

        Args:
            split: which.
            logits: of its encoded rows.
            labels: of its encoded rows.
            thresholds: multi-label: see finesweep.metrics.scores.score.
        """
        schema, documents = self.data.schema, (self.encoded.documents or {}).get(split)
        if documents is not None and schema.problem_type != TOKENS:
            logits, labels = pooled(logits, labels, documents, self.pooling)
        scored = score(logits, labels, schema, thresholds, documents)
        values = compute_metrics(self.data.metrics, scored, schema)
        return scored, {**values, "loss": mean_loss(logits, labels, schema)}

    def metrics(self, split: str, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Return a split's metrics alone."""
        return self.measure(split, logits, labels)[1]

    def part(self, split: str, texts: int) -> Evaluator:
        """Return an evaluator of some texts of a split alone: the same in every run on the same split.

        Args:
            split: which.
            texts: how many; labels keep their proportions, and fewer texts are among more.
        """
        import numpy as np

        labels = self.data.splits[split]["labels"][:]
        strata = labels if self.data.schema.problem_type == SINGLE else [""] * len(labels)
        kept = limited(self.data.contents(split), strata, texts, seed=0)
        documents = (self.encoded.documents or {}).get(split)
        numbers = kept if documents is None else np.flatnonzero(np.isin(documents, kept))
        rows = self.encoded.splits[split].select(numbers)
        places = None if documents is None else {split: np.searchsorted(kept, documents[numbers])}
        encoded = replace(self.encoded, splits={split: rows}, documents=places)
        return replace(self, encoded=encoded)

    def predict(
        self, trainer: Trainer, split: str, fitted: Fitted | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return a split's logits and labels; every process of a run takes part.

        Args:
            trainer: predicts with the model's present weights.
            split: which.
            fitted: how training ended, if it just has: the validation split's logits may be known.
        """
        rows = self.encoded.splits[split]
        logits = fitted.logits if fitted and split == "validation" else None
        return trainer.predict(rows) if logits is None else logits, label_array(rows)

    def finish(self, folder: RunFolder, trainer: Trainer, split: str, fitted: Fitted | None = None) -> dict:
        """Write the predictions of one split and return the metrics.

        A multi-label task's thresholds are those that the validation split gives best F1 with. They hold for
        the test split; the validation metrics themselves are at 0.5, as during training.
        """
        logits, labels = self.predict(trainer, split, fitted)
        _, thresholds = read_labels(folder) if split == "test" else (None, None)
        scored, values = self.measure(split, logits, labels, thresholds)
        if split == "validation" and self.data.schema.problem_type == MULTI:
            tuned = tune_thresholds(scored.probabilities, scored.truth).tolist()
            write_labels(folder, self.data.schema, tuned)
        write_predictions(folder.predictions / f"{split}.parquet", self.data, split, scored)
        return named(split, values)

    def baseline(self, split: str) -> dict[str, float]:
        """Return the metrics of an answer that doesn't read the text."""
        schema = self.data.schema
        scored = baseline(truth_of(self.data, "train"), truth_of(self.data, split), schema)
        return named(split, compute_metrics(self.data.metrics, scored, schema))


def truth_of(data: TextData, split: str) -> Any:
    """Return a split's labels as Scored.truth has them."""
    return data.once(f"truth of {split}", lambda: _truth_of(data.schema, data.splits[split]["labels"][:]))


def _truth_of(schema: LabelSchema, labels: Any) -> Any:
    import numpy as np

    if schema.problem_type == TOKENS:
        return [tag_names(tags, schema.names) for tags in labels]
    if schema.problem_type == REGRESSION:
        return np.asarray(labels, "float32").astype("float64") * schema.scale + schema.mean
    return np.asarray(labels).astype(int)


def final_splits(fitted: Fitted, *, test: bool) -> tuple[str, ...]:
    """Return the splits that are evaluated after training."""
    if fitted.decision is Decision.PRUNE:
        return ()
    return ("validation", "test") if test else ("validation",)


def metrics_at(folder: RunFolder, step: int) -> dict[str, float]:
    """Return the validation metrics of an evaluation, as metrics.jsonl has them."""
    lines = read_lines(folder.metrics)
    found = [line for line in lines if line["step"] == step and "validation/loss" in line]
    return {name: value for name, value in found[-1].items() if name.startswith("validation/")}


def named(split: str, values: dict[str, float]) -> dict[str, float]:
    """Prefix metric names with their split."""
    return {f"{split}/{name}": value for name, value in values.items()}


def assist(evaluator: Evaluator, trainer: Trainer, fitted: Fitted, *, test: bool) -> dict[str, float]:
    """Take part in the last predictions as one of a run's other processes; return the metrics."""
    assert not distributed.is_main()
    found: dict[str, float] = {}
    for split in final_splits(fitted, test=test):
        found |= named(split, evaluator.metrics(split, *evaluator.predict(trainer, split, fitted)))
    return found
