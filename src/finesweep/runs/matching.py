"""Whether a tokenizer and a model belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finesweep.errors import ConfigError, Fault

if TYPE_CHECKING:
    from finesweep.models.adapters import Adapted
    from finesweep.tokenization.encoder import TextEncoder

SPARE_EMBEDDINGS = 256  # vocabularies are padded: DeBERTa v3 has 99 embeddings without a token
SPECIAL_TOKENS = ("pad", "cls", "sep")


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
    tokens, embeddings = len(encoder.tokenizer), getattr(config, "vocab_size", None)
    if embeddings is None:  # a plain module, whose sizes are its own
        return None
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
