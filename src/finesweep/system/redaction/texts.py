"""Secrets in free text: log lines, messages, tracebacks, labels of trackers, source code."""

from __future__ import annotations

import logging

from finesweep.system.redaction.known import known, mask_known, mask_words, short_environment_secrets
from finesweep.system.redaction.patterns import MASK, mask_assignments, mask_code, mask_forms
from finesweep.system.terminal import visible


def redact(text: str) -> str:
    """Mask a text's secrets: known values, known forms, URLs' passwords, what is assigned to their names."""
    return mask_assignments(mask_forms(mask_known(text, known())))


def redact_label(text: str) -> str:
    """Mask a text that goes to a tracker, where a secret of any length may stand as a word of its own."""
    secrets = known() | short_environment_secrets()
    return MASK if text in secrets else mask_words(redact(text), secrets)


def redact_code(text: str) -> str:
    """Mask what source code, or a diff of it, has of secrets; literals that look random too."""
    return redact(mask_code(text))


class RedactingFormatter(logging.Formatter):
    """A log formatter whose lines hold no secrets, tracebacks included, and nothing that a terminal obeys."""

    def format(self, record: logging.LogRecord) -> str:
        """Format the record, then mask."""
        return visible(redact(super().format(record)))
