"""What labels are: the schema that the train split gives, and what a reader of labels must offer."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

Task = Literal["auto", "single-label", "multi-label", "regression", "token-classification"]

# Problem types, as transformers' configs call them; they have no word for the last.
SINGLE = "single_label_classification"
MULTI = "multi_label_classification"
REGRESSION = "regression"
TOKENS = "token_classification"

# The task that a config names -> the problem type.
PROBLEM_TYPES = {
    "single-label": SINGLE,
    "multi-label": MULTI,
    "regression": REGRESSION,
    "token-classification": TOKENS,
}

# The label of what no loss and no metric counts.
IGNORED = -100


@dataclass(frozen=True)
class LabelSchema:
    """The problem type and the label names; a name's position is its id.

    Args:
        names: sorted, each as text; for regression, the one name of the target.
        values: the same labels as the data holds them (text, number or bool).
        problem_type: as in transformers' configs, or `token_classification`.
        mean: regression: what a model's output of 0 stands for.
        scale: regression: target = mean + scale * output.
    """

    names: tuple[str, ...]
    values: tuple[Any, ...]
    problem_type: str = SINGLE
    mean: float = 0.0
    scale: float = 1.0

    @property
    def id2label(self) -> dict[int, str]:
        """Label names by id."""
        return dict(enumerate(self.names))

    def to_json(self) -> dict[str, Any]:
        """Return plain values for labels.json; mean and scale only where they mean something."""
        fields = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}
        if self.problem_type != REGRESSION:
            del fields["mean"], fields["scale"]
        return fields


class LabelReader(Protocol):
    """Labels of one problem type: built from the train split, then held against every split."""

    schema: LabelSchema

    def invalid(self, values: Sequence[Any]) -> dict[str, list[int]]:
        """Return what is wrong with labels, as the end of "rows have ...", and in which rows."""
        ...

    def encode(self, values: Sequence[Any]) -> list[Any]:
        """Turn valid labels into what a loss takes: ids, lists of 0.0 and 1.0, or numbers."""
        ...

    def strata(self, encoded: Sequence[Any]) -> list[Hashable]:
        """Return for each row what a stratified split should keep in proportion."""
        ...


def is_missing(value: Any) -> bool:
    """Say whether a label is absent: null, an empty text or an empty NaN."""
    return value is None or value == "" or value != value
