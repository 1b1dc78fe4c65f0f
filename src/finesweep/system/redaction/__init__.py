"""What is secret, by its name and by its value; every way out of finesweep goes through here."""

from finesweep.system.redaction.known import remember
from finesweep.system.redaction.patterns import MASK
from finesweep.system.redaction.streams import redact_tracebacks, redacted_output
from finesweep.system.redaction.texts import RedactingFormatter, redact, redact_code, redact_label
from finesweep.system.redaction.trees import masked, masked_keys, secrets_in, shown

__all__ = [
    "MASK",
    "RedactingFormatter",
    "masked",
    "masked_keys",
    "redact",
    "redact_code",
    "redact_label",
    "redact_tracebacks",
    "redacted_output",
    "remember",
    "secrets_in",
    "shown",
]
