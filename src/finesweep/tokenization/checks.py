"""Tokenizer settings that can't work together, with this tokenizer, or with this kind of data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finesweep.errors import Fault
from finesweep.tokenization.settings import MULTIPLE, in_windows

if TYPE_CHECKING:
    from finesweep.tokenization.settings import Kind, TokenizerSettings

NO_LIMIT = 10**9  # a tokenizer that knows no limit says 1e30

DATA = {"text": "single texts", "pair": "pairs of texts", "words": "words with tags"}
TRUNCATIONS = {
    "text": ("longest", "first", "head+tail"),
    "pair": ("longest", "first", "second"),
    "words": ("longest",),
}


def setting_faults(settings: TokenizerSettings, kind: Kind) -> list[Fault]:
    """Return everything that is wrong with the settings for data of a kind."""
    faults = [
        _length(settings, kind),
        _multiple(settings),
        _truncation(settings, kind),
        _windows(settings, kind),
        _stride(settings, kind),
        _collator(settings),
        _slow(settings, kind),
    ]
    return [fault for fault in faults if fault]


def _special_tokens(settings: TokenizerSettings, kind: Kind) -> int:
    return settings.tokenizer.num_special_tokens_to_add(pair=kind == "pair")


def _length(settings: TokenizerSettings, kind: Kind) -> Fault | None:
    limit, least = settings.tokenizer.model_max_length, _special_tokens(settings, kind) + 1
    if least <= settings.max_length <= limit:
        return None
    most = f" and at most what the model reads: {limit} tokens" if limit < NO_LIMIT else ""
    rule = f"It must be at least {least} ({least - 1} tokens are the tokenizer's own){most}."
    return Fault("tokenizer.max_length", rule, settings.max_length)


def _multiple(settings: TokenizerSettings) -> Fault | None:
    padded = -(-settings.max_length // MULTIPLE) * MULTIPLE
    limit = settings.tokenizer.model_max_length
    if settings.padding != "multiple" or padded <= limit or settings.max_length > limit:
        return None
    rule = (
        f"Rows of tokenizer.max_length = {settings.max_length} tokens would be padded to {padded}; "
        f"the model reads {limit}."
    )
    fix = f"Set tokenizer.max_length={limit // MULTIPLE * MULTIPLE}."
    return Fault("tokenizer.padding", rule, settings.padding, fix=fix)


def _truncation(settings: TokenizerSettings, kind: Kind) -> Fault | None:
    if settings.truncation in TRUNCATIONS[kind]:
        return None
    rule = f"The data are {DATA[kind]}, which can't be cut this way."
    return Fault("tokenizer.truncation", rule, settings.truncation, valid=TRUNCATIONS[kind])


def _windows(settings: TokenizerSettings, kind: Kind) -> Fault | None:
    if settings.long_text != "windows":
        return None
    if kind == "pair" and settings.truncation == "longest":
        rule = "Of a pair, one text is read in windows; tokenizer.truncation = longest doesn't say which."
        fix = "Set tokenizer.truncation to first or second: that one is in windows, the other in each."
        return Fault("tokenizer.long_text", rule, "windows", fix=fix)
    if kind == "text" and settings.truncation == "head+tail":
        rule = "Windows hold all of a text; tokenizer.truncation = head+tail drops its middle."
        return Fault("tokenizer.long_text", rule, "windows", fix="Set one of the two back to its default.")
    return None


def _stride(settings: TokenizerSettings, kind: Kind) -> Fault | None:
    room = settings.max_length - _special_tokens(settings, kind)
    if not in_windows(settings, kind) or room <= 0 or 0 <= settings.stride < room:
        return None
    rule = (
        f"Windows of tokenizer.max_length = {settings.max_length} tokens hold {room} of a text: they must "
        "share fewer, or they don't move on."
    )
    fix = f"Set tokenizer.stride={room // 4}, or a longer tokenizer.max_length."
    return Fault("tokenizer.stride", rule, settings.stride, valid=(f"0 to {room - 1}",), fix=fix)


def _collator(settings: TokenizerSettings) -> Fault | None:
    if not settings.has_own_collator or settings.padding == "longest":
        return None
    rule = "tokenizer.collator is given, and it is the collator that pads."
    return Fault(
        "tokenizer.padding", rule, settings.padding, fix="Set the padding in the collator's own keys."
    )


def _slow(settings: TokenizerSettings, kind: Kind) -> Fault | None:
    if kind != "words" or settings.tokenizer.is_fast:
        return None
    rule = (
        f"{type(settings.tokenizer).__name__} has no fast version; only a fast tokenizer tells which word "
        "a token belongs to, which tags need."
    )
    return Fault("tokenizer.name", rule, settings.name, fix="Choose another model.")
