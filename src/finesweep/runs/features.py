"""What a run's data, model and method are like, in a few numbers: how near two sweeps are is told by them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from finesweep.data.labels import IGNORED, MULTI, REGRESSION, TOKENS
from finesweep.system.records import damaged, read_json

if TYPE_CHECKING:
    from pathlib import Path

    from finesweep.data import TextData

FEATURES = "features"  # in provenance.json
SHAPE = {
    FEATURES: {
        "task": str, "pairs": bool, "rows": int, "labels": int, "words": (int, float),
        "evenness": (int, float), "model": str, "method": str,
    }
}  # fmt: skip
SAMPLE = 2000  # rows that are looked at, from all over the train split
OTHER_MODEL = 1.0  # as far away as ten times as many rows


@dataclass(frozen=True)
class Features:
    """What is known of a run's data, model and method before its first step.

    Args:
        task: the problem type.
        pairs: whether a row has two texts.
        rows: of the train split.
        labels: how many there are; 1 for a regression.
        words: of a row, on average.
        evenness: entropy of the labels as a share of the largest there could be: 1 where all are as frequent.
        model: the name it was loaded by.
        method: what its adapter is made by.
    """

    task: str
    pairs: bool
    rows: int
    labels: int
    words: float
    evenness: float
    model: str
    method: str

    def distance(self, other: Features) -> float | None:
        """Return how far away another run's are; None where its points would say nothing.

        One is ten times as many rows, four times as many labels, texts four times as long, or another model.
        """
        if (self.task, self.pairs, self.method) != (other.task, other.pairs, other.method):
            return None
        return (
            abs(math.log10(self.rows / other.rows))
            + abs(math.log(self.labels / other.labels, 4))
            + abs(math.log(self.words / other.words, 4))
            + abs(self.evenness - other.evenness)
            + OTHER_MODEL * (self.model != other.model)
        )


def features_of(data: TextData, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the features of a run as plain values, for its provenance.

    Args:
        data: the run's.
        config: as `check` returns it.
    """
    return asdict(
        Features(
            **data.once("features", lambda: _of_rows(data)),
            model=str(config["model"].get("name") or config["model"]["_target_"]),
            method=str((config["peft"] or {}).get("_target_")),
        )
    )


def _of_rows(data: TextData) -> dict[str, Any]:
    train, kind = data.splits["train"], data.schema.problem_type
    rows = train.select(range(0, len(train), math.ceil(len(train) / SAMPLE)))
    texts = [rows[name][:] for name in ("words", "text", "text_pair") if name in rows.column_names]
    return {
        "task": kind,
        "pairs": "text_pair" in train.column_names,
        "rows": len(train),
        "labels": len(data.schema.names),
        "words": round(max(1.0, sum(map(_num_words, chain(*texts))) / len(rows)), 2),
        "evenness": round(_evenness(rows["labels"][:], kind, len(data.schema.names)), 4),
    }


def read_features(provenance: Path) -> Features:
    """Read a run's features.

    Raises:
        DamagedFile: it has none, or some that can't be.
    """
    saved = read_json(provenance, SHAPE)[FEATURES]
    found = Features(**{key: saved[key] for key in SHAPE[FEATURES]})
    numbers = (found.rows, found.labels, found.words)
    if not all(0 < number < math.inf for number in numbers) or not 0 <= found.evenness <= 1:
        raise damaged(provenance, "damaged: its features can't be")
    return found


def _num_words(text: str | Sequence[str]) -> int:
    return len(text.split() if isinstance(text, str) else text)


def _evenness(labels: Sequence[Any], kind: str, num_labels: int) -> float:
    if kind == REGRESSION or num_labels < 2:
        return 1.0
    if kind == TOKENS:
        labels = [one for row in labels for one in row if one != IGNORED]
    elif kind == MULTI:
        labels = [place for row in labels for place, given in enumerate(row) if given]
    counts = Counter(labels)
    total = sum(counts.values())
    entropy = -sum(count / total * math.log(count / total) for count in counts.values())
    return min(1.0, entropy / math.log(num_labels))
