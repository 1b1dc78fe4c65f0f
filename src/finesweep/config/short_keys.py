"""`trials=30 workers=2`: short for the two settings of a sweep that are typed most.

A key of the same name in a user's config is the user's: it is asked for when Hydra has not found any.
"""

from __future__ import annotations

from finesweep.errors import Fault
from finesweep.system.programs import train_words
from finesweep.system.redaction.words import masked_command

SHORT_KEYS = {"trials": "hydra.sweeper.n_trials", "workers": "hydra.sweeper.n_jobs"}


def fault_of_short(key: str, value: str, *, multirun: bool, is_axis: bool) -> Fault | None:
    """Say why a short key can't stand where it was typed; None where it can.

    Args:
        key: one of SHORT_KEYS.
        value: as it was typed.
        multirun: whether a sweep was asked for.
        is_axis: whether there are several values.
    """
    what = f"It is short for {SHORT_KEYS[key]}, the number of a sweep's {key}"
    if is_axis:
        return Fault(key, f"{what}: one number, not an axis.", value, "command line", fix=f"{key}=30")
    if not multirun:
        command = masked_command([*train_words(), "-m", f"{key}={value}"])
        return Fault(key, f"{what}, and this is one run.", value, "command line", fix=f"Search: {command}")
    return None
