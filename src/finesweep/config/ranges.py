"""The range and the type of each setting that is one number, a switch or a name: known without torch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finesweep.config.origin import UNRESOLVED, Origin
from finesweep.errors import Fault, nearest
from finesweep.system.paths import why_closed

MOST_SEED = 2**32 - 1  # NumPy's


@dataclass(frozen=True)
class Kind:
    """What a setting may be.

    Args:
        rule: said of a value that it isn't.
        holds: of a value that is no null.
    """

    rule: str
    holds: Callable[[Any], bool]


def _numbers(rule: str, holds: Callable[[float], bool]) -> Kind:
    return Kind(f"It must be {rule}.", lambda value: _is_number(value) and holds(value))


def _whole(rule: str, holds: Callable[[int], bool]) -> Kind:
    return Kind(
        f"It must be {rule}.", lambda value: _is_number(value) and value == int(value) and holds(int(value))
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


POSITIVE = _numbers("a number above 0", lambda value: value > 0)
NOT_NEGATIVE = _numbers("a number, 0 or more", lambda value: value >= 0)
SHARE = _numbers("a number from 0 to below 1", lambda value: 0 <= value < 1)
ONE_OR_MORE = _whole("a whole number, 1 or more", lambda value: value >= 1)
COUNT = _whole("a whole number, 0 or more", lambda value: value >= 0)
STEPS = _whole("a whole number, 1 or more, or -1 to count epochs", lambda value: value >= 1 or value == -1)
SEED = _whole(f"a whole number from 0 to {MOST_SEED}", lambda value: 0 <= value <= MOST_SEED)
SWITCH = Kind("It must be true or false.", lambda value: isinstance(value, bool))

# Of the first pattern that a key matches. A rate of 0 trains nothing, which a comparison may want; OFT's
# rank is 0 where its blocks have a size.
KINDS: dict[str, Kind] = {
    r"seed|trainer\.data_seed": SEED,
    r"threads": ONE_OR_MORE,
    r"test": SWITCH,
    r"trainer\.(learning_rate|weight_decay|max_grad_norm|warmup_steps)": NOT_NEGATIVE,
    r"trainer\.early_stopping_threshold": NOT_NEGATIVE,
    r"trainer\.per_device_(train|eval)_batch_size": ONE_OR_MORE,
    r"trainer\.(gradient_accumulation_steps|save_total_limit|early_stopping_patience)": ONE_OR_MORE,
    r"trainer\.max_steps": STEPS,
    r"trainer\.(num_train_epochs|eval_steps|logging_steps|adam_epsilon|loraplus_lr_ratio)": POSITIVE,
    r"trainer\.(adam_beta[12]|label_smoothing_factor)": SHARE,
    r"trainer\.dataloader_num_workers": COUNT,
    r"tokenizer\.max_length": ONE_OR_MORE,
    r"tokenizer\.stride": COUNT,
    r"peft\.r": COUNT,
    r"peft\.(init_r|target_r|num_virtual_tokens)": ONE_OR_MORE,
    r"peft\.(\w+_)?dropout": SHARE,
    r"peft\.(\w+_)?alpha": POSITIVE,
    r"data\.focal_gamma": NOT_NEGATIVE,
}
RANK_ZERO = "OFTConfig"
# The names of finesweep.models.speedups, which can't be asked before torch is there; a test compares them.
SPEEDUPS = ("fast-dropout", "first-token", "cuda-graph", "unpadded")


def range_rule(config: dict[str, Any], origin: Origin) -> Iterator[Fault]:
    """Find the settings that are out of their range, or of another type."""
    for key, value in _settings(config):
        kind = next((kind for pattern, kind in KINDS.items() if re.fullmatch(pattern, key)), None)
        if key == "peft.r" and not str(config["peft"].get("_target_")).endswith(RANK_ZERO):
            kind = ONE_OR_MORE
        if kind and value is not None and value is not UNRESOLVED and not kind.holds(value):
            yield Fault(key, kind.rule, value, origin.of(key))


def speedups_rule(config: dict[str, Any], origin: Origin) -> Iterator[Fault]:
    """Find names of speed-ups that there are none of."""
    chosen = config.get("speedups", "none")
    if chosen in ("auto", "none", UNRESOLVED):
        return
    if not isinstance(chosen, list):
        rule = f"It is auto, none, or a list of names. {nearest(str(chosen), ('auto', 'none', *SPEEDUPS))}"
        fix = f"A single one is a list too: speedups=[{chosen}]" if chosen in SPEEDUPS else ""
        yield Fault("speedups", rule.strip(), chosen, origin.of("speedups"), ("auto", "none", *SPEEDUPS), fix)
        return
    for name in chosen:
        if name not in SPEEDUPS:
            rule = f"There is no such speed-up. {nearest(str(name), SPEEDUPS)}".strip()
            yield Fault("speedups", rule, name, origin.of("speedups"), ("auto", "none", *SPEEDUPS))


def output_rule(config: dict[str, Any], origin: Origin) -> Iterator[Fault]:
    """Find an output folder that can't be made or written into."""
    given = config.get("output_dir", UNRESOLVED)
    if given is UNRESOLVED:
        return
    if not isinstance(given, str) or not given:
        rule, fix = (
            "It must be the name of a folder.",
            "Quote one that looks like a number: output_dir='\"3\"'",
        )
        yield Fault("output_dir", rule, given, origin.of("output_dir"), fix=fix)
        return
    if rule := why_closed(Path(given).expanduser().absolute()):
        yield Fault("output_dir", rule, given, origin.of("output_dir"), fix="Name another: output_dir=FOLDER")


def _settings(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Give the settings of the config itself and of its groups; what lies deeper belongs to others."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{name}", child) for name, child in value.items())
        else:
            yield key, value
