"""Metrics that are functions of counts are scikit-learn's, to the last bit."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sklearn_metrics

from finesweep.data.labels import MULTI, SINGLE, LabelSchema
from finesweep.metrics import compute_metrics
from finesweep.metrics.scores import Scored

NAMES = tuple("abcde")
OF_ONE_LABEL = ("accuracy", "balanced_accuracy", "f1_macro", "f1_micro", "f1_weighted", "f1_per_class",
                "matthews_correlation")  # fmt: skip
OF_SEVERAL = ("f1_micro", "f1_macro", "f1_per_class", "subset_accuracy")

ids = arrays(int, st.shared(st.integers(1, 300), key="rows"), elements=st.integers(0, len(NAMES) - 1))
tables = arrays(int, st.shared(st.tuples(st.integers(1, 60), st.just(len(NAMES))), key="size"),
                elements=st.integers(0, 1))  # fmt: skip


def found(chosen, problem_type, predicted, truth):
    return compute_metrics(chosen, Scored(predicted, truth), LabelSchema(NAMES, NAMES, problem_type))


@settings(max_examples=30)
@given(ids, ids)
def test_of_rows_with_one_label_each(predicted, truth):
    def f1(average):
        return sklearn_metrics.f1_score(truth, predicted, average=average, zero_division=0)

    each = sklearn_metrics.f1_score(truth, predicted, labels=range(5), average=None, zero_division=0)
    one_label = len({*predicted, *truth}) == 1  # of which scikit-learn warns
    assert found(OF_ONE_LABEL, SINGLE, predicted, truth) == {
        "accuracy": sklearn_metrics.accuracy_score(truth, predicted),
        "balanced_accuracy": sklearn_metrics.recall_score(
            truth, predicted, labels=np.unique(truth), average="macro", zero_division=0
        ),
        "f1_macro": f1("macro"),
        "f1_micro": f1("micro"),
        "f1_weighted": f1("weighted"),
        **{f"f1/{name}": score for name, score in zip(NAMES, each, strict=True)},
        "matthews_correlation": 0 if one_label else sklearn_metrics.matthews_corrcoef(truth, predicted),
    }


@settings(max_examples=30)
@given(tables, tables)
def test_of_rows_with_any_number_of_labels(predicted, truth):
    columns = zip(truth.T, predicted.T, strict=True)
    each = [sklearn_metrics.f1_score(*column, zero_division=math.nan) for column in columns]
    defined = [score for score in each if not math.isnan(score)]
    values = found(OF_SEVERAL, MULTI, predicted, truth)
    assert values.pop("f1_macro") == pytest.approx(np.mean(defined) if defined else 0, rel=1e-15)
    assert values == {
        "f1_micro": sklearn_metrics.f1_score(truth.ravel(), predicted.ravel(), zero_division=0),
        "subset_accuracy": sklearn_metrics.accuracy_score(truth, predicted),
        **{f"f1/{name}": score for name, score in zip(NAMES, np.nan_to_num(each), strict=True)},
    }
