"""Resamples are the same whether they are drawn at once or one after the other."""

import numpy as np

from finesweep.metrics.resampling import Measure
from finesweep.runs import difference

ROWS = 50


def measure(values, *, is_fast):
    return Measure(ROWS, lambda rows: values[rows].sum(), (lambda times: times @ values) if is_fast else None)


def resampled(sizes, *, is_fast):
    random = np.random.default_rng(1)
    groups = [[measure(random.integers(9, size=ROWS), is_fast=is_fast) for _ in range(n)] for n in sizes]
    return difference._means(groups, seed=0, resamples=20)


def test_sums_and_what_is_computed_anew_have_the_same_resamples(monkeypatch):
    for sizes in ([1], [1, 1], [3, 1]):
        whole, of_sums = resampled(sizes, is_fast=True)
        monkeypatch.setattr(difference, "MOST_DRAWN", 3 * ROWS)
        again, of_rows = resampled(sizes, is_fast=False)
        monkeypatch.undo()
        np.testing.assert_array_equal(whole, again)
        np.testing.assert_array_equal(of_sums, of_rows)
        assert of_sums.shape == (20, len(sizes))


def test_runs_that_are_alone_draw_nothing_of_their_own():
    one_by_one, count = np.random.default_rng(0), 2 * ROWS
    expected = []
    for _ in range(10):
        expected.append(one_by_one.integers(count, size=count))
        one_by_one.integers(1, size=1)
    some = [Measure(count, lambda rows: 0.0)]
    rows, _ = difference._drawn(np.random.default_rng(0), count, [some, some], 10)
    np.testing.assert_array_equal(rows, expected)
