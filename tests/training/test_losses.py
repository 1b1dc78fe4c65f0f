"""The loss of several trials' rows at once is that of each trial's rows."""

import pytest
import torch

from finesweep.data.labels import IGNORED, MULTI, REGRESSION, SINGLE, TOKENS
from finesweep.training.losses import Loss

SLOTS, ROWS, WORDS, LABELS = 3, 5, 4, 3
WEIGHTS = {"class_weights": (0.5, 1.0, 3.0)}
CASES = [
    (SINGLE, {}, 0.0), (SINGLE, WEIGHTS, 0.1), (SINGLE, {**WEIGHTS, "focal_gamma": 2.0}, 0.0),
    (TOKENS, {}, 0.1), (TOKENS, {"focal_gamma": 1.0}, 0.0),
    (MULTI, {}, 0.0), (MULTI, {**WEIGHTS, "focal_gamma": 2.0}, 0.0), (REGRESSION, {}, 0.0),
]  # fmt: skip


def logits_and_labels(problem_type):
    torch.manual_seed(0)
    shape = (SLOTS, ROWS, WORDS) if problem_type == TOKENS else (SLOTS, ROWS)
    logits = torch.randn(*shape, 1 if problem_type == REGRESSION else LABELS, dtype=torch.float64)
    if problem_type == MULTI:
        labels = torch.randint(2, (*shape, LABELS)).double()
    elif problem_type == REGRESSION:
        labels = torch.randn(shape).double()
    else:
        labels = torch.randint(LABELS, shape)
    labels[0, 2:] = IGNORED
    labels[2] = IGNORED  # a slot that has no rows
    return logits, labels


@pytest.mark.parametrize(("problem_type", "settings", "smoothing"), CASES)
def test_at_once_it_is_that_of_each(problem_type, settings, smoothing):
    loss = Loss(problem_type, **settings)
    logits, labels = logits_and_labels(problem_type)
    at_once, apart = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    found = loss.of_slots(at_once, labels, smoothing)
    each = torch.stack([loss(*slot, smoothing) for slot in zip(apart, labels, strict=True)])
    torch.testing.assert_close(found, each, rtol=1e-12, atol=0)
    assert found[2] == 0
    found.sum().backward()
    each.sum().backward()
    torch.testing.assert_close(at_once.grad, apart.grad, rtol=1e-12, atol=1e-15)
