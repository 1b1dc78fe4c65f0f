"""A loss of the user's own, which a config names by `_target_`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finesweep.data.labels import IGNORED, REGRESSION, TOKENS
from finesweep.errors import ConfigError, Fault, TrainingError
from finesweep.system.foreign import calling
from finesweep.system.signatures import locate

if TYPE_CHECKING:
    from torch import Tensor

KEY = "trainer.loss"


@dataclass(frozen=True)
class OwnLoss:
    """A function of logits and labels, in the place of the problem type's loss.

    Args:
        name: its dotted path.
        function: is called with the logits and labels that count, and returns their mean loss, or one for
            each of them.
        settings: what it was given beside them.
    """

    name: str
    function: Callable[[Tensor, Tensor], Tensor]
    settings: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.name} {dict(sorted(self.settings.items()))}"

    def total(self, logits: Tensor, labels: Tensor, problem_type: str) -> Tensor:
        """Return the sum over all labels that count: the mean, times their number.

        What the function sees holds no padding:

        | problem type | logits | labels |
        |---|---|---|
        | single_label_classification | (rows, labels) | (rows,) |
        | multi_label_classification | (rows, labels) | (rows, labels) |
        | regression | (rows,) | (rows,), standardised |
        | token_classification | (tokens, labels) | (tokens,) |

        Raises:
            ForeignError: the function raises.
            TrainingError: what it returns is no loss that could be followed back to the logits.
        """
        if problem_type == TOKENS:
            logits, labels = logits.flatten(0, -2), labels.flatten()
        if problem_type == REGRESSION:
            logits = logits.squeeze(-1)
        counts = labels != IGNORED
        rows = counts if counts.dim() == 1 else counts.all(1)
        logits, labels = logits[rows], labels[rows]
        if not len(labels):
            return logits.sum()  # of nothing, with a gradient of 0
        with calling(KEY, self.name):
            found = self.function(logits, labels)
        if not hasattr(found, "requires_grad") or (logits.requires_grad and not found.requires_grad):
            rule = (
                "It must return a tensor that is computed from the logits: their mean loss, or one for each."
            )
            raise TrainingError(Fault(KEY, rule, f"{self.name} returned {type(found).__name__}"))
        return found.mean() * labels.numel()


def own_loss(node: dict[str, Any]) -> OwnLoss:
    """Return the loss that a checked node names: a function, or a class whose objects are called like one.

    Raises:
        ConfigError: it has weights of its own, which nothing would train.
    """
    target = str(node["_target_"])
    settings = {key: value for key, value in node.items() if key != "_target_"}
    found: Any = locate(target)
    if not inspect.isclass(found):
        return OwnLoss(target, functools.partial(found, **settings), settings)
    with calling(KEY, target):
        loss: Any = found(**settings)
    if any(True for _ in getattr(loss, "parameters", tuple)()):
        rule = "It has parameters, which no optimizer would train: they belong into the model."
        raise ConfigError(Fault(KEY, rule, target))
    return OwnLoss(target, loss, settings)
