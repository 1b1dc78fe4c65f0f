"""Whatever a source returns, the reader gives checked splits or says what is wrong."""

import math

import polars
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finesweep.data import TextData, load_text_data
from finesweep.errors import FinesweepError

TEXTS = st.one_of(st.text(max_size=8), st.sampled_from(["a", "b", "A b", "a  B", "", " "]))
LABELS = st.one_of(
    st.sampled_from(["x", "y", "", "-1"]),
    st.integers(-1, 3),
    st.booleans(),
    st.floats(allow_nan=True, allow_infinity=True, width=32),
    st.none(),
    st.lists(st.sampled_from(["x", "y"]), max_size=3),
    st.lists(st.integers(0, 1), min_size=2, max_size=3),
)
KINDS = st.sampled_from(
    [
        st.sampled_from(["x", "y", "z"]),
        st.integers(0, 3),
        st.booleans(),
        st.floats(-10, 10),
        st.lists(st.sampled_from(["x", "y", "z"]), max_size=3),
        LABELS,
    ]
)


@st.composite
def tables(draw) -> list[dict]:
    """Return rows whose labels are of one kind, or of any."""
    labels = draw(KINDS)
    words = st.lists(TEXTS, max_size=3)
    texts = draw(st.sampled_from([TEXTS, TEXTS, words, st.one_of(TEXTS, st.none(), st.integers())]))
    row = st.fixed_dictionaries({"text": texts, "label": labels}, optional={"group": st.sampled_from("pqr")})
    return draw(st.lists(row, max_size=40))


ARGUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "task": st.sampled_from(["single-label", "multi-label", "regression", "token-classification"]),
        "on_invalid": st.sampled_from(["error", "drop"]),
        "on_leak": st.sampled_from(["error", "drop", "warn"]),
        "drop_duplicates": st.booleans(),
        "label_delimiter": st.just(","),
        "limit": st.sampled_from([1, 5, 0.5]),
        "class_weights": st.sampled_from(["balanced", [1.0, 2.0]]),
        "split": st.sampled_from(
            [{"group": "group"}, {"folds": 2, "fold": 1}, {"validation": 0.3, "test": 0.3}]
        ),
    },
)


@given(rows=tables(), arguments=ARGUMENTS, with_test=st.booleans())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_rows_give_checked_splits_or_a_message(rows, arguments, with_test):
    source = {"train": rows, "test": rows[:5]} if with_test else rows
    try:
        data = load_text_data(source, **arguments)
    except FinesweepError:
        return
    assert isinstance(data, TextData)
    for part in data.splits.values():
        assert len(part)
        assert all(text and all(text) for text in part["text" if "text" in part.column_names else "words"])
        for label in part["labels"]:
            assert all(map(math.isfinite, label if isinstance(label, list) else [label]))
    data.fingerprint()


@pytest.mark.parametrize("dtype", [polars.Date, polars.Decimal(10, 2), polars.Duration, polars.Binary])
def test_labels_of_a_type_that_is_none_are_refused(dtype):
    values = [1, 2] * 20 if dtype != polars.Binary else [b"a", b"b"] * 20
    frame = polars.DataFrame({"text": [f"t{i}" for i in range(40)], "label": values})
    with pytest.raises(FinesweepError, match=r"data\.label_column"):
        load_text_data(frame.with_columns(polars.col("label").cast(dtype)))
