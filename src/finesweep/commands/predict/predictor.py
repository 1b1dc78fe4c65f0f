"""Texts to predictions: checked, tokenised as in training, batched by length, in the order they came."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from finesweep.data.checks import wrong_texts
from finesweep.data.labels import IGNORED, MULTI, REGRESSION, TOKENS
from finesweep.errors import Fault, FinesweepError
from finesweep.metrics.scores import Scored, pooled, score
from finesweep.tokenization.batches import EncodedBatch
from finesweep.tokenization.settings import COLUMNS, Kind

if TYPE_CHECKING:
    from finesweep.data.labels import LabelSchema
    from finesweep.runs.saved import SavedRun
    from finesweep.tokenization.settings import Pooling

ENCODED_ROWS = 1000
REFUSALS = {"words": "a word that gives no token", "room": "a text that fills tokenizer.max_length alone"}


@dataclass(frozen=True)
class Predictions:
    """What a run predicts for some rows, in their order; None where a row has a problem.

    Args:
        predicted: a label's name; multi-label a list of names; regression a number in the target's own
            units; tokens one tag for each word.
        scores: the probability of what is predicted: one number, or one for each name or tag; None for
            regression.
        probabilities: (rows, labels), NaN where a row has a problem; None for regression and tokens.
        problems: why a row has no prediction.
    """

    predicted: list[Any]
    scores: list[Any] | None
    probabilities: np.ndarray | None
    problems: list[str | None]


class Predictor:
    """Predict with a finished run.

    Args:
        run: which.
        batch_size: rows in a batch; no result depends on it, but for rounding.
        device: as torch calls it; None: a GPU where there is one.
    """

    passes = 1  # how often it reads each row

    def __init__(self, run: SavedRun, batch_size: int = 64, device: str | None = None) -> None:
        from finesweep.models import speedups

        self.schema, self.thresholds = run.schema, run.thresholds
        self._batch_size = batch_size
        encoder = run.encoder()
        self._pooling: Pooling = encoder.pooling
        self.kind: Kind = "words" if run.is_tokens else "pair" if len(run.text_columns) == 2 else "text"
        self._encoder = encoder.batch_encoder(self.kind)
        self._device = checked_device(device)
        self._model = run.plain_model().to(self._device)
        speedups.apply(self._model, "auto")

    def predict(
        self, *columns: Sequence[Any], advance: Callable[[int], None] = lambda count: None
    ) -> Predictions:
        """Return the predictions for some rows.

        Args:
            columns: the texts; both columns of pairs; for tokens one column of lists of words.
            advance: is called with the number of rows whenever some are done.
        """
        problems = self._problems(columns)
        good = [row for row, problem in enumerate(problems) if problem is None]
        advance(len(problems) - len(good))
        encoded = self._encode(columns, good)
        for problem, rows in self._encoder.refused().items():
            for row in rows:
                problems[row] = REFUSALS[problem]
        answered = np.unique(encoded.documents)
        if not len(answered):
            return arranged(Scored([], []), None, [], problems, self.schema)
        scored, confidences = self._score(encoded, advance)
        rows = [good[position] for position in answered]
        return arranged(scored, confidences, rows, problems, self.schema)

    def _problems(self, columns: Sequence[Sequence[Any]]) -> list[str | None]:
        problems: list[str | None] = [None] * len(columns[0])
        for texts in columns:
            for what, rows in wrong_texts(texts).items():
                for row in rows:
                    problems[row] = what
        return problems

    def _encode(self, columns: Sequence[Sequence[Any]], rows: Sequence[int]) -> EncodedBatch:
        """Encode rows; documents are positions in `rows`."""
        from datasets import Value

        schema = self._encoder.features(Value("int64")).arrow_schema
        tables, documents, lengths = [schema.empty_table()], [], []
        for start in range(0, len(rows), ENCODED_ROWS):
            batch = self._encoder.encode(self._table(columns, rows[start : start + ENCODED_ROWS]), schema)
            tables.append(batch.table)
            documents.append(batch.documents + start)
            lengths.append(batch.lengths)
        nothing = [np.zeros(0, np.int32)]
        return EncodedBatch(
            pa.concat_tables(tables), np.concatenate(documents or nothing), np.concatenate(lengths or nothing)
        )

    def _table(self, columns: Sequence[Sequence[Any]], rows: Sequence[int]) -> pa.Table:
        """Return rows as the encoder reads them; any label will do, one for each word."""
        chosen = {
            name: [texts[row] for row in rows]
            for name, texts in zip(COLUMNS[self.kind], columns, strict=True)
        }
        words = chosen.get("words")
        labels = [[0] * len(some) for some in words] if words else [0] * len(rows)
        return pa.table({**chosen, "id": list(rows), "labels": labels})

    def _score(
        self, encoded: EncodedBatch, advance: Callable[[int], None]
    ) -> tuple[Scored, list[Any] | None]:
        documents = np.unique(encoded.documents, return_inverse=True)[1]
        logits = self._logits(encoded.table, advance)
        if self.schema.problem_type == TOKENS:
            labels = _filled(encoded.table["labels"].to_pylist(), logits.shape[1])
            scored = score(logits, labels, self.schema, documents=documents)
            return scored, _tag_scores(logits, labels, documents)
        labels = np.zeros(len(logits))
        if len(logits) > len(np.unique(documents)):
            logits, labels = pooled(logits, labels, documents, self._pooling)
        if self.schema.problem_type == MULTI:
            labels = np.zeros(logits.shape)
        return score(logits, labels, self.schema, self.thresholds), None

    def _logits(self, table: pa.Table, advance: Callable[[int], None]) -> np.ndarray:
        """Return the logits of encoded rows: (rows, labels), or (rows, tokens, labels), in their order."""
        import torch

        inputs = {name: table[name].to_pylist() for name in table.column_names if name != "labels"}
        lengths = np.fromiter(map(len, inputs["input_ids"]), np.int64, len(table))
        found: np.ndarray | None = None
        for rows in _like_lengths(lengths, self._batch_size):
            batch = self._padded({name: [values[row] for row in rows] for name, values in inputs.items()})
            with torch.inference_mode():
                logits = self._model(**batch).logits.float().cpu().numpy()
            if found is None:  # the first batch is the longest
                found = np.zeros((len(table), *logits.shape[1:]), np.float32)
            if logits.ndim == 3:
                found[rows, : logits.shape[1]] = logits
            else:
                found[rows] = logits
            advance(len(rows))
        assert found is not None
        return found

    def _padded(self, rows: dict[str, list[list[int]]]) -> dict[str, Any]:
        batch = self._encoder.tokenizer.pad(rows, return_tensors="pt")
        return {name: values.to(self._device) for name, values in batch.items()}


def arranged(
    scored: Scored,
    confidences: list[Any] | None,
    rows: Sequence[int],
    problems: list[str | None],
    schema: LabelSchema,
) -> Predictions:
    """Put predictions in their rows' places.

    Args:
        scored: the predictions of the rows that have some.
        confidences: of tokens, the probability of each word's tag.
        rows: where they belong.
        problems: of all rows.
        schema: of the labels.
    """
    names, kind = schema.names, schema.problem_type
    predicted: list[Any] = [None] * len(problems)
    scores: list[Any] = [None] * len(problems)
    probabilities = scored.probabilities
    for position, row in enumerate(rows):
        if problems[row]:
            continue
        value = scored.predicted[position]
        if kind == REGRESSION:
            predicted[row] = float(value)
        elif kind == TOKENS:
            predicted[row], scores[row] = value, confidences and confidences[position]
        elif kind == MULTI:
            on = np.flatnonzero(value)
            predicted[row] = [names[i] for i in on]
            scores[row] = probabilities[position][on].tolist()
        else:
            predicted[row], scores[row] = names[value], float(probabilities[position][value])
    if kind in (REGRESSION, TOKENS):
        return Predictions(predicted, scores if kind == TOKENS else None, None, problems)
    table = np.full((len(problems), len(names)), np.nan)
    if rows:
        table[rows] = probabilities
    return Predictions(predicted, scores, table, problems)


def checked_device(device: str | None) -> Any:
    """Return a torch device.

    Raises:
        FinesweepError: this machine has no such device.
    """
    import torch

    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        if reason.startswith("Expected one of"):  # of 20 names, which torch then lists
            fault = Fault(
                "--device", "There is no such kind.", device, valid=("cpu", "cuda", "cuda:1", "mps")
            )
        else:
            rule = f"This machine has no such device: {reason}"
            fault = Fault("--device", rule, device, fix="Leave it out.")
        raise FinesweepError(fault) from error


def _like_lengths(lengths: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Yield the positions of rows of like lengths, the longest first: memory shows at once if it suffices."""
    order = np.argsort(-lengths, kind="stable")
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _filled(labels: list[list[int]], width: int) -> np.ndarray:
    filled = np.full((len(labels), width), IGNORED)
    for row, values in zip(filled, labels, strict=True):
        row[: len(values)] = values
    return filled


def _tag_scores(logits: np.ndarray, labels: np.ndarray, documents: np.ndarray) -> list[list[float]]:
    """Return the probability of each word's tag, by document."""
    from scipy.special import softmax

    best = softmax(logits.astype("float64"), axis=-1).max(-1)
    scores: list[list[float]] = [[] for _ in range(documents.max() + 1)]
    for document, row, tags in zip(documents.tolist(), best, labels, strict=True):
        scores[document] += row[tags != IGNORED].tolist()
    return scores
