"""`finesweep validate`: everything that can be known of a run without training it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from finesweep.commands.data.command import refusal
from finesweep.config.compose import compose
from finesweep.errors import FinesweepError
from finesweep.runs.fitting import make_trainer
from finesweep.runs.memory import estimated_memory
from finesweep.runs.preparation import prepare, reason_to_train_alone
from finesweep.sweeps.plan import SLOTS_ON_A_GPU
from finesweep.system import console
from finesweep.system.programs import train_words
from finesweep.system.redaction.words import masked_command
from finesweep.tokenization.notes import truncation_warnings
from finesweep.training.base import Monitors

if TYPE_CHECKING:
    from finesweep.models.memory import MemoryEstimate
    from finesweep.runs.preparation import Prepared


def validate(arguments: Sequence[str], *, as_json: bool = False) -> None:
    """Walk a run up to its first step, and say what it would train; nothing is written.

    Args:
        arguments: the words after `python train.py`.
        as_json: print JSON on stdout and nothing else there; a refusal too.

    Raises:
        ConfigError: the config can't be run.
        FinesweepError: the data or the model can't be used.
    """
    try:
        with redirect_stdout(sys.stderr if as_json else sys.stdout):  # a user's own source may print
            prepared = _prepared(arguments)
    except FinesweepError as error:
        if as_json:
            print(json.dumps(refusal(error), indent=1))
        raise
    command = masked_command([*train_words(), *arguments])
    if as_json:
        print(json.dumps({"starts": True, "command": command, **_facts(prepared)}, indent=1))
    else:
        screen = console.make_console(whole_lines=True)
        if memory := _pack_memory(prepared):
            screen.print(
                f"packed     {SLOTS_ON_A_GPU} trials at a time, as a sweep trains on a GPU: {memory}"
            )
        screen.print(f"\nA run would start: {command}", markup=False)


def _prepared(arguments: Sequence[str]) -> Prepared:
    with compose(arguments).checked() as config, console.logging_to_console():
        prepared = prepare(config)
        _check_trainer(prepared)
    return prepared


def _check_trainer(prepared: Prepared) -> None:
    """Build the trainer, which refuses arguments that contradict each other."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as place:
        make_trainer(prepared, Path(place), Monitors([]))


def _pack_memory(prepared: Prepared) -> MemoryEstimate | None:
    """Estimate what a sweep's trials take together; None where they can't be packed."""
    if reason_to_train_alone(prepared.adapted, prepared.config):
        return None
    return estimated_memory(prepared.adapted, prepared.config).packed(SLOTS_ON_A_GPU)


def _facts(prepared: Prepared) -> dict[str, Any]:
    adapted, config = prepared.adapted, prepared.config
    cut = truncation_warnings(prepared.encoded, prepared.encoder.max_length)
    return {
        "objective": config["objective"]["metric"],
        "rows": {str(name): len(split) for name, split in prepared.data.splits.items()},
        "labels": list(prepared.data.schema.names),
        "warnings": [*prepared.data.warnings, *cut],
        "truncated": prepared.encoded.truncated,
        "model": prepared.classifier.name,
        "fresh": list(prepared.classifier.fresh_modules),
        "matched": adapted.matched,
        "trainable": adapted.trainable,
        "total": adapted.total,
        "saved_bytes": adapted.saved_bytes,
        "memory_bytes": estimated_memory(adapted, config).total,
        "memory_shortage": asdict(prepared.short) if prepared.short else None,
        "packed_memory_bytes": pack.total if (pack := _pack_memory(prepared)) else None,
        "speedups": list(prepared.speedups),
    }
