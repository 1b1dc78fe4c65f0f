"""The columns of predicted rows: the input's own, and those that are added."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finesweep.data.labels import MULTI, REGRESSION, TOKENS
from finesweep.errors import DataError, Fault, nearest

if TYPE_CHECKING:
    import pyarrow as pa

    from finesweep.commands.predict.inputs import Chunk, Input
    from finesweep.commands.predict.predictor import Predictions
    from finesweep.data.labels import LabelSchema

DELIMITERS = {";": "';'", "\t": r"$'\t'", "|": "'|'"}


@dataclass(frozen=True)
class Columns:
    """Names of columns.

    Args:
        texts: those that are read, one or two.
        labels: what the run predicts.
        prefix: of those that are added.
        trials: the numbers of those that are averaged; each row says so.
    """

    texts: tuple[str, ...]
    labels: LabelSchema
    prefix: str = ""
    trials: tuple[int, ...] = ()

    @property
    def added(self) -> pa.Schema:
        """Names and types of what is added: predicted, score, each label's probability, problem, trials."""
        import pyarrow as pa

        kind, number = self.labels.problem_type, pa.float64()
        several = kind in (MULTI, TOKENS)
        found: dict[str, Any] = {"predicted": number if kind == REGRESSION else pa.string()}
        if several:
            found["predicted"] = pa.list_(pa.string())
        if kind != REGRESSION:
            found["score"] = pa.list_(number) if several else number
        if kind not in (REGRESSION, TOKENS):
            found |= {f"p/{name}": number for name in self.labels.names}
        found["problem"] = pa.string()
        if self.trials:
            found["trials"] = pa.list_(pa.int64())
        return pa.schema([(f"{self.prefix}{name}", type_) for name, type_ in found.items()])

    def check(self, source: Input) -> None:
        """Make sure that the texts are there, and that what is added isn't.

        Raises:
            DataError: with the columns that there are.
        """
        if not source.columns:
            return
        missing = [name for name in self.texts if name not in source.columns]
        if missing:
            close = nearest(missing[0], source.columns)
            rule = f"There is no column `{missing[0]}`, which the run read. {close}".strip()
            raise DataError(Fault(source.name, rule, valid=source.columns, fix=_way_out(source.columns)))
        if there := [name for name in self.added.names if name in source.columns]:
            raise self._collision(source.name, there[0])

    def joined(self, chunk: Chunk, found: Predictions, name: str) -> Iterator[dict[str, Any]]:
        """Yield a chunk's rows with their predictions.

        Args:
            chunk: the rows.
            found: what is predicted for them.
            name: the input's, for messages.

        Raises:
            DataError: a row has a value of its own where a prediction belongs.
        """
        names, trials = self.added_names, [[*self.trials]] if self.trials else []
        for position, row in enumerate(chunk.rows):
            added = dict(zip(names, [*_values(found, position), *trials], strict=True))
            if there := row.keys() & added.keys():
                raise self._collision(name, min(there))
            yield row | added

    @property
    def added_names(self) -> tuple[str, ...]:
        """Names of what is added."""
        return tuple(self.added.names)

    def _collision(self, source: str, name: str) -> DataError:
        rule = f"The input has a column `{name}` already."
        return DataError(Fault(source, rule, fix="Call the new ones otherwise: --prefix new_"))


def _values(found: Predictions, position: int) -> list[Any]:
    """Return what is added to a row; nulls where it has no prediction."""
    values: list[Any] = [found.predicted[position]]
    problem = found.problems[position]
    if found.scores is not None:
        values.append(found.scores[position])
    if found.probabilities is not None:
        row = found.probabilities[position]
        values += [None] * len(row) if problem else row.tolist()
    return [*values, problem]


def _way_out(columns: tuple[str, ...]) -> str:
    """Say what to do about a column that isn't there: another delimiter, where the header looks like it."""
    split = [word for sign, word in DELIMITERS.items() if len(columns) == 1 and sign in columns[0]]
    if split:
        return f"Is it split otherwise? --delimiter {split[0]}"
    return "Name the column of the texts: --text-column NAME; twice for pairs."
