"""Linear probes: right where labels follow from features, honest about labels that they never saw."""

import numpy as np
import pytest

from finesweep.data.labels import MULTI, REGRESSION, SINGLE, LabelSchema
from finesweep.metrics.losses import cross_entropy
from finesweep.metrics.probes import fit_probe

FEATURES = np.random.default_rng(0).normal(size=(200, 6)).astype("float32")
OTHERS = np.random.default_rng(1).normal(size=(80, 6)).astype("float32")


def schema(problem_type, *names):
    return LabelSchema(names, names, problem_type)


def test_classes_are_found_and_their_logits_are_log_probabilities():
    head = fit_probe(FEATURES, FEATURES[:, :3].argmax(1), schema(SINGLE, "a", "b", "c"))
    logits, truth = head(OTHERS), OTHERS[:, :3].argmax(1)
    assert (logits.argmax(1) == truth).mean() > 0.9
    assert np.exp(logits).sum(1) == pytest.approx(np.ones(80))
    assert cross_entropy(logits, truth) < 0.3


def test_a_label_that_no_row_of_train_has_is_never_the_answer():
    labels = np.where(FEATURES[:, 0] > 0, 2, 0)
    logits = fit_probe(FEATURES, labels, schema(SINGLE, "a", "b", "c"))(OTHERS)
    assert logits.shape == (80, 3)
    assert (logits.argmax(1) == np.where(OTHERS[:, 0] > 0, 2, 0)).mean() > 0.9
    alone = fit_probe(FEATURES, np.full(200, 1), schema(SINGLE, "a", "b"))(OTHERS)
    assert set(alone.argmax(1)) == {1}


def test_several_labels_are_told_one_by_one():
    labels = np.stack([FEATURES[:, 0] > 0, FEATURES[:, 1] > 1, np.ones(200), np.zeros(200)], axis=1).astype(
        int
    )
    found = fit_probe(FEATURES, labels, schema(MULTI, "a", "b", "all", "none"))(OTHERS) > 0
    assert (found[:, 0] == (OTHERS[:, 0] > 0)).mean() > 0.9
    assert (found[:, 1] == (OTHERS[:, 1] > 1)).mean() > 0.9
    assert found[:, 2].all()
    assert not found[:, 3].any()


def test_a_number_that_depends_on_features_linearly_is_found():
    target = FEATURES @ np.array([1.0, -2.0, 0.5, 0, 0, 0])
    predicted = fit_probe(FEATURES, target, schema(REGRESSION, "price"))(OTHERS)
    assert predicted.shape == (80, 1)
    assert np.corrcoef(predicted[:, 0], OTHERS @ np.array([1.0, -2.0, 0.5, 0, 0, 0]))[0, 1] > 0.999
