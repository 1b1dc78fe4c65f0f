"""Rows that were checked already are not checked again; anything else is."""

import pytest

from finesweep.data import load_text_data

ROWS = [{"text": f"{label} {i}", "label": label} for i in range(20) for label in ("red", "blue")]


def changed(**values) -> list[dict]:
    return [{**ROWS[0], **values}, *ROWS[1:]]


def test_equal_rows_are_checked_once():
    assert load_text_data(ROWS, metrics=["accuracy"]) is load_text_data(
        [dict(row) for row in ROWS], metrics=["accuracy"]
    )


@pytest.mark.parametrize("rows", [changed(text="another"), changed(label="blue"), ROWS[1:], ROWS[::-1]])
def test_other_rows_are_checked_anew(rows):
    before = load_text_data(ROWS)
    after = load_text_data(rows)
    assert before.fingerprint() != after.fingerprint()
    assert load_text_data(ROWS).fingerprint() == before.fingerprint()


def test_other_settings_are_used():
    assert len(load_text_data(ROWS, limit=8).splits["train"]) == 8
    assert len(load_text_data(ROWS, limit=6).splits["train"]) == 6
