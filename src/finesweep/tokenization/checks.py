"""Tokenizer settings that can't work together, with this tokenizer, or with this kind of data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finesweep.errors import ConfigError, Fault

if TYPE_CHECKING:
    from finesweep.models.adapters import Adapted
    from finesweep.tokenization.batches import Kind
    from finesweep.tokenization.encoder import TextEncoder

NO_LIMIT = 10**9  # a tokenizer that knows no limit says 1e30
MULTIPLE = 8  # tensor cores work on blocks of this many
SPARE_EMBEDDINGS = 256  # vocabularies are padded: DeBERTa v3 has 99 embeddings without a token
SPECIAL_TOKENS = ("pad", "cls", "sep")

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


def check_fits(encoder: TextEncoder, adapted: Adapted) -> None:
    """Make sure that a tokenizer and a model belong together, and that the texts fit in.

    Raises:
        ConfigError: each thing that doesn't match.
    """
    config, tokenizer = adapted.model.config, encoder.tokenizer
    faults = [
        _vocabulary(encoder, config),
        *(_special_token(tokenizer, config, kind) for kind in SPECIAL_TOKENS),
        _positions(encoder, adapted),
    ]
    if found := [fault for fault in faults if fault]:
        raise ConfigError(*found)


def _vocabulary(encoder: TextEncoder, config: Any) -> Fault | None:
    tokens, embeddings = len(encoder.tokenizer), config.vocab_size
    if tokens <= embeddings <= tokens + SPARE_EMBEDDINGS:
        return None
    rule = f"It has {tokens:,} tokens, the model {embeddings:,} embeddings: they don't belong together."
    return Fault("tokenizer.name", rule, encoder.name, fix="Leave it out: the tokenizer follows the model.")


def _special_token(tokenizer: Any, config: Any, kind: str) -> Fault | None:
    own, expected = getattr(tokenizer, f"{kind}_token_id"), getattr(config, f"{kind}_token_id", None)
    if own is None or expected in (own, None):
        return None
    rule = f"Its {kind} token is number {own}; the model expects number {expected}."
    return Fault("tokenizer.name", rule, tokenizer.name_or_path, fix="Leave tokenizer.name out.")


def _positions(encoder: TextEncoder, adapted: Adapted) -> Fault | None:
    """Count the positions that the model has learnt; one without such a table reads any number."""
    from torch import nn

    tables = (m for n, m in adapted.model.named_modules() if n.endswith("embeddings.position_embeddings"))
    table = next((module for module in tables if isinstance(module, nn.Embedding)), None)
    if table is None:
        return None
    first = 0 if table.padding_idx is None else table.padding_idx + 1  # RoBERTa counts from there
    limit = table.num_embeddings - first - adapted.virtual_tokens
    if encoder.max_length <= limit:
        return None
    prompt = f", {adapted.virtual_tokens} of them for the prompt" if adapted.virtual_tokens else ""
    positions = table.num_embeddings - first
    rule = f"The model has {positions} positions{prompt}: {max(limit, 0)} are left for a text."
    return Fault("tokenizer.max_length", rule, encoder.max_length)


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
