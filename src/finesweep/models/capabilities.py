"""Which PEFT method does what on which family of encoders: measured, and kept as data.

`capabilities.json` is written by tests/matrix/generate.py, which trains, saves, reloads and merges every
method of conf/peft/ on a tiny model of every family.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from finesweep.errors import ConfigError, Fault

FILE = Path(__file__).with_name("capabilities.json")
ABILITIES = ("train", "reload", "merge", "tokens")


@cache
def table() -> dict[str, Any]:
    """Return the measured table.

    Returns:
        `versions`: of the libraries; `methods`: by the name of the method's file, its peft `type` (None: it
        isn't one of peft's) and, for each of its `families`, which of ABILITIES it has.
    """
    return json.loads(FILE.read_text())


def check(peft_type: str, model_type: str, *, tokens: bool) -> None:
    """Refuse a method that is known not to train, or not to come back from its file, on a family.

    Args:
        peft_type: as peft calls it: LORA.
        model_type: as transformers calls it: bert. One that wasn't measured is let through.
        tokens: whether the head labels tokens.

    Raises:
        ConfigError: with the methods that work.
    """
    needed = ("train", "reload", "tokens") if tokens else ("train", "reload")
    found = [
        method["families"][model_type]
        for method in table()["methods"].values()
        if method["type"] == peft_type and model_type in method["families"]
    ]
    if not found or all(ability in found[0] for ability in needed):
        return
    lacking = next(ability for ability in needed if ability not in found[0])
    what = {
        "train": f"It does not train on a {model_type}",
        "reload": f"On a {model_type} its saved adapter does not give back the same predictions",
        "tokens": f"On a {model_type} it can't label tokens",
    }[lacking]
    works = working(model_type, needed)
    raise ConfigError(Fault("peft", f"{what} (seen with peft {table()['versions']['peft']}).",
                            peft_type, valid=works))  # fmt: skip


def working(model_type: str, needed: tuple[str, ...] = ("train", "reload")) -> tuple[str, ...]:
    """Return the names of the methods that have the needed abilities on a family."""
    methods = table()["methods"].items()
    return tuple(
        name
        for name, method in methods
        if all(ability in method["families"].get(model_type, ()) for ability in needed)
    )
