"""Secrets are masked in what is written; where a secret comes from is not."""

import pytest

from finesweep.redaction import redact

SECRET = "canary-of-the-environment"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"key={SECRET}", "key=***"),
        (
            "postgresql+psycopg2://me:canary@host:5432/studies",
            "postgresql+psycopg2://me:***@host:5432/studies",
        ),
        ("postgresql://me:${oc.env:PASS}@host/studies", "postgresql://me:${oc.env:PASS}@host/studies"),
        ("postgresql://me:${oc.env:PASS}canary@host/studies", "postgresql://me:***@host/studies"),
        ("postgresql://me@host:5432/studies", "postgresql://me@host:5432/studies"),
        ("https://example.org:8080/path", "https://example.org:8080/path"),
    ],
)
def test_passwords_are_masked_and_interpolations_kept(monkeypatch, text, expected):
    monkeypatch.setenv("STUDY_TOKEN", SECRET)
    assert redact(text) == expected
