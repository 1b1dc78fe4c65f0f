"""A linear model on what a frozen encoder makes of the texts: what fine-tuning has to beat."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from finesweep.data.labels import MULTI, REGRESSION

if TYPE_CHECKING:
    import numpy as np

    from finesweep.data.labels import LabelSchema

Probe = Callable[["np.ndarray"], "np.ndarray"]
LIMIT = 20.0  # the log odds of a label that all rows have, or none: 1 - 2e-9


def fit_probe(features: np.ndarray, labels: np.ndarray, schema: LabelSchema) -> Probe:
    """Fit a logistic regression, one for each label of a multi-label task, or a ridge regression.

    Features are standardised and the penalty is scikit-learn's default: nothing is tuned, so that a
    validation split's value is as honest as a test split's.

    Args:
        features: (rows, hidden).
        labels: (rows,) ids or numbers; (rows, labels) of 0 and 1.
        schema: supplies the problem type, which isn't of tokens, and how many labels there are.

    Returns:
        What turns features into logits, as a model's head does: (rows, labels), of a regression (rows, 1).
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    scaler: Any = StandardScaler().fit(features)
    standardised = scaler.transform(features)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # where it stops by then it is a probe too
        if schema.problem_type == REGRESSION:
            ridge: Any = Ridge().fit(standardised, labels)
            return lambda rows: ridge.predict(scaler.transform(rows))[:, None]
        if schema.problem_type == MULTI:
            columns = [_odds(standardised, labels[:, i]) for i in range(labels.shape[1])]
            return lambda rows: _stacked(columns, scaler.transform(rows))
        classes = _classes(standardised, labels, len(schema.names))
        return lambda rows: classes(scaler.transform(rows))


def _classes(features: np.ndarray, labels: np.ndarray, count: int) -> Probe:
    """Return what gives the log probabilities of `count` labels; not all need be among these rows."""
    import numpy as np

    present = np.unique(labels)
    model = _logistic().fit(features, labels) if len(present) > 1 else None

    def log_probabilities(rows: np.ndarray) -> np.ndarray:
        found = np.full((len(rows), count), -LIMIT)
        found[:, present] = model.predict_log_proba(rows) if model else 0.0
        return found

    return log_probabilities


def _odds(features: np.ndarray, labels: np.ndarray) -> Probe:
    """Return what gives the log odds of one label."""
    import numpy as np

    if labels.min() == labels.max():
        return lambda rows: np.full(len(rows), LIMIT if labels[0] else -LIMIT)
    return _logistic().fit(features, labels).decision_function


def _logistic() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000)


def _stacked(columns: list[Probe], rows: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.stack([odds(rows) for odds in columns], axis=1)
