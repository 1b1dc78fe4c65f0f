"""How often each label is right, found and true: many metrics are functions of nothing else.

The arithmetic is scikit-learn's, to the last bit. What scikit-learn does around it, such as looking at each
array for what it may be, takes milliseconds for each metric of each evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Counts:
    """Whole numbers of each label, of shape (labels,), in any numeric type.

    Args:
        right: rows that have the label and were predicted to.
        found: rows that were predicted to have it.
        true: rows that have it.
    """

    right: np.ndarray
    found: np.ndarray
    true: np.ndarray

    def f1_of_each(self) -> np.ndarray:
        """Return each label's F1; NaN for one that is neither found nor true."""
        import numpy as np

        with np.errstate(invalid="ignore"):
            return 2 * self.right / (self.found + self.true)

    def macro_f1(self) -> float:
        """Return the mean F1 of the labels that occur, found or true; 0 if none does."""
        scores, _ = self._of_occurring()
        return scores.mean() if len(scores) else 0.0

    def weighted_f1(self) -> float:
        """Return the mean F1 of the labels that occur, each with the weight of its true rows."""
        scores, true = self._of_occurring()
        return (scores * true).sum() / true.sum()

    def micro_f1(self) -> float:
        """Return the F1 over all pairs of row and label; 0 with nothing to find and nothing found."""
        either = self.found.sum() + self.true.sum()
        return 2 * self.right.sum() / either if either else 0.0

    def balanced_accuracy(self) -> float:
        """Return the mean recall of the labels that some row has."""
        occurs = self.true > 0
        return (self.right[occurs] / self.true[occurs]).mean()

    def matthews_correlation(self) -> float:
        """Return the correlation of found and true labels, where each row has one (Matthews 1975).

        Of several labels it needs no more of a table of confusions than the sums of its rows and columns.
        """
        import numpy as np

        found, true = self.found.astype(float), self.true.astype(float)
        count = true.sum()
        spread = (count**2 - (found**2).sum()) * (count**2 - (true**2).sum())
        covered = self.right.sum() * count - (found * true).sum()
        return covered / np.sqrt(spread) if spread else 0.0

    def _of_occurring(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the F1 and the true rows of the labels that occur."""
        occurs = self.found + self.true > 0
        return 2 * self.right[occurs] / (self.found + self.true)[occurs], self.true[occurs]


def counts_of_ids(predictions: Any, references: Any, num_labels: int) -> Counts:
    """Count the labels of rows that have one each.

    Args:
        predictions: (rows,) label ids.
        references: (rows,) label ids.
        num_labels: how many there are.
    """
    import numpy as np

    found, true = np.asarray(predictions), np.asarray(references)
    ids = (true[found == true], found, true)
    return Counts(*(np.bincount(some, minlength=num_labels) for some in ids))


def counts_of_tables(predictions: Any, references: Any) -> Counts:
    """Count the labels of rows that have any number of them.

    Args:
        predictions: (rows, labels) of 0 and 1.
        references: (rows, labels) of 0 and 1.
    """
    import numpy as np

    found, true = np.asarray(predictions, bool), np.asarray(references, bool)
    return Counts(*(table.sum(axis=0) for table in (found & true, found, true)))
