"""The loss that every trainer minimises: one for each problem type."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finesweep.data.labels import IGNORED, REGRESSION, SINGLE, TOKENS
from finesweep.errors import ConfigError, Fault

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from finesweep.training.own_loss import OwnLoss


@dataclass(frozen=True)
class Loss:
    """A loss summed over labels: dividing by those of a whole step makes accumulation exact.

    Labels that are IGNORED count for nothing.

    | problem type | loss | logits | labels |
    |---|---|---|---|
    | single_label_classification | cross-entropy | (rows, labels) | (rows,) |
    | multi_label_classification | binary cross-entropy | (rows, labels) | (rows, labels) |
    | regression | squared error | (rows, 1) | (rows,) |
    | token_classification | cross-entropy | (rows, tokens, labels) | (rows, tokens) |

    Args:
        problem_type: as in a LabelSchema.
        class_weights: what each label counts; for multi-label tasks, what its presence counts.
        focal_gamma: above 0, labels that are predicted well count less (Lin et al. 2017, arXiv:1708.02002).
        unit: what a loss is multiplied by before anyone sees it: a regression that is trained on standardised
            targets reports the squared error of the targets themselves.
        own: the user's, in the place of the one above.
    """

    problem_type: str = SINGLE
    class_weights: Sequence[float] | None = None
    focal_gamma: float = 0.0
    unit: float = 1.0
    own: OwnLoss | None = None

    def __post_init__(self) -> None:
        if self.own and (self.class_weights or self.focal_gamma):
            key = "data.class_weights" if self.class_weights else "data.focal_gamma"
            fix = f"Leave {key} out: trainer.loss weighs labels itself."
            raise ConfigError(Fault(key, "It belongs to finesweep's own loss.", self.own.name, fix=fix))
        if self.problem_type == REGRESSION and (self.class_weights or self.focal_gamma):
            key = "data.class_weights" if self.class_weights else "data.focal_gamma"
            raise ConfigError(Fault(key, "A regression has no classes.", fix=f"Leave {key} out."))

    def __call__(self, logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the sum over all labels that count."""
        if self.own:
            return self.own.total(_exact(logits), labels, self.problem_type)
        if self.problem_type in (SINGLE, TOKENS):
            return self._cross_entropy(_exact(logits).flatten(0, -2), labels.flatten(), label_smoothing)
        counts = labels != IGNORED
        if self.problem_type == REGRESSION:
            return _sum_of((_exact(logits).squeeze(-1) - labels).square(), counts)
        return _sum_of(self._binary_cross_entropy(_exact(logits), labels), counts)

    def of_slots(self, logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the sums of several trials' rows at once, (slots,); not of a loss of the user's own.

        Args:
            logits: as above, with the slots before the rows.
            labels: as above, with the slots before the rows.
            label_smoothing: of all of them.
        """
        if self.problem_type in (SINGLE, TOKENS):
            each = self._each_cross_entropy(_exact(logits).flatten(0, -2), labels.flatten(), label_smoothing)
            return each.view(len(labels), -1).sum(1)
        counts = labels != IGNORED
        if self.problem_type == REGRESSION:
            each = (_exact(logits).squeeze(-1) - labels).square()
        else:
            each = self._binary_cross_entropy(_exact(logits), labels)
        return each.where(counts, 0).flatten(1).sum(1)

    def check_smoothing(self, factor: float) -> None:
        """Refuse label smoothing where there are no classes that exclude each other.

        Raises:
            ConfigError: there are none, or the loss is the user's own.
        """
        if self.own:
            rule, fix = "It belongs to finesweep's own loss.", "Leave it out: trainer.loss smooths itself."
            raise ConfigError(Fault("trainer.label_smoothing_factor", rule, factor, fix=fix))
        if self.problem_type not in (SINGLE, TOKENS):
            rule = "Label smoothing is for classes of which each row has one."
            raise ConfigError(Fault("trainer.label_smoothing_factor", rule, factor, fix="Leave it out."))

    def _cross_entropy(self, logits: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
        from torch.nn import functional

        if self.focal_gamma:
            return self._each_cross_entropy(logits, labels, label_smoothing).sum()
        options = {"ignore_index": IGNORED, "label_smoothing": label_smoothing}
        return functional.cross_entropy(logits, labels, self._weights(logits), reduction="sum", **options)

    def _each_cross_entropy(self, logits: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
        from torch.nn import functional

        options = {"ignore_index": IGNORED, "label_smoothing": label_smoothing}
        each = functional.cross_entropy(logits, labels, self._weights(logits), reduction="none", **options)
        if not self.focal_gamma:
            return each
        right = logits.softmax(-1).gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
        return each * (1 - right) ** self.focal_gamma

    def _binary_cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        from torch.nn import functional

        weight = self._weights(logits)
        each = functional.binary_cross_entropy_with_logits(
            logits, labels.clamp(min=0).to(logits), pos_weight=weight, reduction="none"
        )
        if not self.focal_gamma:
            return each
        right = (logits * (2 * labels - 1)).sigmoid()
        return each * (1 - right) ** self.focal_gamma

    def _weights(self, logits: Tensor) -> Tensor | None:
        if self.class_weights is None:
            return None
        return _on_device(tuple(self.class_weights), logits.dtype, logits.device)


@functools.lru_cache(maxsize=8)
def _on_device(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return values as a tensor; they are brought to a GPU once, since that waits for it."""
    import torch

    return torch.tensor(values, dtype=dtype, device=device)


def _sum_of(each: Tensor, counts: Tensor) -> Tensor:
    """Return the sum of those that count; on a GPU, picking them out would wait for how many there are."""
    return each[counts].sum() if each.device.type == "cpu" else each.where(counts, 0).sum()


def count_labels(labels: Tensor) -> int:
    """Return how many labels count."""
    return int((labels != IGNORED).sum())


def _exact(logits: Tensor) -> Tensor:
    """Return logits in 32 bits at least."""
    return logits.float() if logits.dtype.itemsize < 4 else logits
