"""Confident learning: labels that were flipped are found, and by its published rule."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from finesweep.metrics.label_errors import find_label_errors


def test_a_row_is_counted_for_the_likeliest_label_that_reaches_its_threshold():
    probabilities = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.1, 0.9], [0.65, 0.35], [0.45, 0.55]])
    found = find_label_errors(probabilities, np.array([0, 0, 0, 1, 1, 1]))
    np.testing.assert_allclose(found.thresholds, [0.6, 0.6])
    assert found.rows.tolist() == [2, 4]  # row 5 has its own label below the threshold, and no other above
    assert found.suggested.tolist() == [1, 0]
    np.testing.assert_allclose(found.margins, [-0.6, -0.3])


def test_a_label_that_no_row_has_is_suggested_for_none():
    found = find_label_errors(np.array([[0.1, 0.2, 0.7], [0.2, 0.7, 0.1]]), np.array([0, 1]))
    assert found.thresholds[2] == np.inf
    assert found.rows.tolist() == []


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(1, 12))
def test_labels_that_were_flipped_are_found_at_the_top(seed, num_labels, num_flipped):
    random = np.random.default_rng(seed)
    truth = np.tile(np.arange(num_labels), 200 // num_labels)
    logits = random.normal(size=(len(truth), num_labels)) * 0.5
    logits[np.arange(len(truth)), truth] += 4
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    flipped = random.choice(len(truth), num_flipped, replace=False)
    labels = truth.copy()
    labels[flipped] = (truth[flipped] + random.integers(1, num_labels, num_flipped)) % num_labels
    found = find_label_errors(probabilities, labels)
    sure = [row for row in flipped if probabilities[row, truth[row]] >= found.thresholds[truth[row]]]
    assert set(sure) <= set(found.rows)
    clear = [row for row in found.rows if probabilities[row, truth[row]] > 0.5]
    assert set(clear) <= set(flipped)
    assert (np.diff(found.margins) >= 0).all()
    np.testing.assert_array_equal(found.suggested[np.isin(found.rows, clear)], truth[clear])
