"""Tokenizer settings that can't work together, with this tokenizer, or with this kind of data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finesweep.errors import Fault

if TYPE_CHECKING:
    from finesweep.alignment import Kind
    from finesweep.tokenization import TextEncoder

NO_LIMIT = 10**9  # a tokenizer that knows no limit says 1e30
MULTIPLE = 8  # tensor cores work on blocks of this many

DATA = {"text": "single texts", "pair": "pairs of texts", "words": "words with tags"}
TRUNCATIONS = {
    "text": ("longest", "first", "head+tail"),
    "pair": ("longest", "first", "second"),
    "words": ("longest",),
}


def setting_faults(encoder: TextEncoder, kind: Kind) -> list[Fault]:
    """Return everything that is wrong with the settings for data of a kind."""
    faults = [
        _length(encoder, kind),
        _multiple(encoder),
        _truncation(encoder, kind),
        _windows(encoder, kind),
        _stride(encoder, kind),
        _collator(encoder),
        _slow(encoder, kind),
    ]
    return [fault for fault in faults if fault]


def in_windows(encoder: TextEncoder, kind: Kind) -> bool:
    """Tell whether long rows become several: always for words, or some would have no prediction."""
    return kind == "words" or encoder.long_text == "windows"


def _special_tokens(encoder: TextEncoder, kind: Kind) -> int:
    return encoder.tokenizer.num_special_tokens_to_add(pair=kind == "pair")


def _length(encoder: TextEncoder, kind: Kind) -> Fault | None:
    limit, least = encoder.tokenizer.model_max_length, _special_tokens(encoder, kind) + 1
    if least <= encoder.max_length <= limit:
        return None
    most = f" and at most what the model reads: {limit} tokens" if limit < NO_LIMIT else ""
    rule = f"It must be at least {least} ({least - 1} tokens are the tokenizer's own){most}."
    return Fault("tokenizer.max_length", rule, encoder.max_length)


def _multiple(encoder: TextEncoder) -> Fault | None:
    padded = -(-encoder.max_length // MULTIPLE) * MULTIPLE
    limit = encoder.tokenizer.model_max_length
    if encoder.padding != "multiple" or padded <= limit or encoder.max_length > limit:
        return None
    rule = (
        f"Rows of tokenizer.max_length = {encoder.max_length} tokens would be padded to {padded}; "
        f"the model reads {limit}."
    )
    fix = f"Set tokenizer.max_length={limit // MULTIPLE * MULTIPLE}."
    return Fault("tokenizer.padding", rule, encoder.padding, fix=fix)


def _truncation(encoder: TextEncoder, kind: Kind) -> Fault | None:
    if encoder.truncation in TRUNCATIONS[kind]:
        return None
    rule = f"The data are {DATA[kind]}, which can't be cut this way."
    return Fault("tokenizer.truncation", rule, encoder.truncation, valid=TRUNCATIONS[kind])


def _windows(encoder: TextEncoder, kind: Kind) -> Fault | None:
    if encoder.long_text != "windows":
        return None
    if kind == "pair" and encoder.truncation == "longest":
        rule = "Of a pair, one text is read in windows; tokenizer.truncation = longest doesn't say which."
        fix = "Set tokenizer.truncation to first or second: that one is in windows, the other in each."
        return Fault("tokenizer.long_text", rule, "windows", fix=fix)
    if kind == "text" and encoder.truncation == "head+tail":
        rule = "Windows hold all of a text; tokenizer.truncation = head+tail drops its middle."
        return Fault("tokenizer.long_text", rule, "windows", fix="Set one of the two back to its default.")
    return None


def _stride(encoder: TextEncoder, kind: Kind) -> Fault | None:
    room = encoder.max_length - _special_tokens(encoder, kind)
    if not in_windows(encoder, kind) or room <= 0 or 0 <= encoder.stride < room:
        return None
    rule = (
        f"Windows of tokenizer.max_length = {encoder.max_length} tokens hold {room} of a text: they must "
        "share fewer, or they don't move on."
    )
    fix = f"Set tokenizer.stride={room // 4}, or a longer tokenizer.max_length."
    return Fault("tokenizer.stride", rule, encoder.stride, valid=(f"0 to {room - 1}",), fix=fix)


def _collator(encoder: TextEncoder) -> Fault | None:
    if not encoder.has_own_collator or encoder.padding == "longest":
        return None
    rule = "tokenizer.collator is given, and it is the collator that pads."
    return Fault(
        "tokenizer.padding", rule, encoder.padding, fix="Set the padding in the collator's own keys."
    )


def _slow(encoder: TextEncoder, kind: Kind) -> Fault | None:
    if kind != "words" or encoder.tokenizer.is_fast:
        return None
    rule = (
        f"{type(encoder.tokenizer).__name__} has no fast version; only a fast tokenizer tells which word "
        "a token belongs to, which tags need."
    )
    return Fault("tokenizer.name", rule, encoder.name, fix="Choose another model.")
