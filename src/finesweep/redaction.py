"""Keep secrets out of what is written: values of secret environment variables, passwords in URLs."""

from __future__ import annotations

import logging
import os
import re

SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL)", re.IGNORECASE)
# An interpolation such as ${oc.env:NAME} is no secret: it says where the secret is.
URL_PASSWORD = re.compile(r"\b(\w+://[^\s:/@]*):(?!\$\{[^{}]*\}@)([^\s/@]+)@")
SHORTEST = 8
MASK = "***"


def redact(text: str) -> str:
    """Mask every value of an environment variable with a secret's name, and every password in a URL."""
    for value in _secret_values():
        text = text.replace(value, MASK)
    return URL_PASSWORD.sub(rf"\1:{MASK}@", text)


def _secret_values() -> list[str]:
    values = {v for name, v in os.environ.items() if SECRET_NAME.search(name) and len(v) >= SHORTEST}
    return sorted(values, key=len, reverse=True)


class RedactingFormatter(logging.Formatter):
    """A log formatter whose lines hold no secrets, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        """Format the record, then mask."""
        return redact(super().format(record))
