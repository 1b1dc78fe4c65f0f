"""Metrics of resampled rows, made of sums: the same as those that are computed of the rows themselves."""

import numpy as np
import pytest

from finesweep.data.labels import MULTI, REGRESSION, SINGLE, TOKENS, LabelSchema
from finesweep.metrics import compute_metrics, metric_names
from finesweep.metrics.intervals import taken
from finesweep.metrics.registry import METRICS
from finesweep.metrics.resampling import measure, times_of
from finesweep.metrics.scores import Scored

NAMES = ("a", "b", "c", "d")
TAGS = ("O", "B-x", "I-x", "B-y")
ROWS = 40
# These are computed anew for each resample.
ANEW = {"roc_auc", "pr_auc", "mean_average_precision", "expected_calibration_error", "spearman"}


def scored_of(problem_type, random):
    shares = random.dirichlet(np.ones(len(NAMES)), ROWS)
    if problem_type == SINGLE:
        return Scored(shares.argmax(1), random.integers(len(NAMES), size=ROWS), shares)
    if problem_type == MULTI:
        return Scored((shares > 0.3).astype(int), random.integers(2, size=shares.shape), shares)
    if problem_type == REGRESSION:
        return Scored(1e6 + random.normal(size=ROWS), 1e6 + random.normal(size=ROWS))
    tags = [[list(random.choice(TAGS, size=5)) for _ in range(ROWS)] for _ in range(2)]
    return Scored(*tags)


CASES = [
    (problem_type, name)
    for problem_type in (SINGLE, MULTI, REGRESSION, TOKENS)
    for name in metric_names(problem_type)
    if METRICS[name].single
]


@pytest.mark.parametrize(("problem_type", "name"), CASES)
@pytest.mark.often(every=3)
def test_a_metric_of_sums_is_the_metric_of_the_rows(problem_type, name):
    random = np.random.default_rng(0)
    names = TAGS if problem_type == TOKENS else () if problem_type == REGRESSION else NAMES
    schema = LabelSchema(problem_type=problem_type, names=names, values=names)
    scored = scored_of(problem_type, random)
    found = measure(name, scored, schema)
    assert found.is_fast is (name not in ANEW)
    choices = [random.integers(ROWS, size=ROWS) for _ in range(20)] + [np.zeros(ROWS, int), np.arange(ROWS)]
    if found.of_times:
        at_once = found.of_times(times_of(np.stack(choices), ROWS))
        np.testing.assert_allclose(at_once, [found(rows) for rows in choices], rtol=1e-12)
    for rows in choices:
        computed = compute_metrics([name], taken(scored, rows), schema)[name]
        assert found(rows) == pytest.approx(computed, abs=1e-6, nan_ok=True)
