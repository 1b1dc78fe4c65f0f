"""Tags of words: what numbers mean, which words count, and spans in any spelling of their scheme."""

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value
from hypothesis import given
from hypothesis import strategies as st

from composing import compose_config
from finesweep.data import load_text_data
from finesweep.data.spans import Span, find_spans
from finesweep.errors import DataError
from finesweep.metrics import compute_metrics, default_metrics
from finesweep.metrics.scores import Scored, score
from finesweep.runs.run import run

IOB2 = ("B-LOC", "B-PER", "I-LOC", "I-PER", "O")
NUMBERS = ["O", "B-PER", "I-PER"]


def rows(tags, count=30) -> list[dict]:
    words = ["Ann", "Lee", "sings", "in", "Rome"]
    return [{"words": [*words[: len(tags) - 1], f"w{i}"], "tags": tags} for i in range(count)]


def load(tags, **settings):
    return load_text_data(rows(tags), text_column="words", label_column="tags", **settings)


@pytest.mark.parametrize("tags", [[1, 2, 0, 0], ["1", "2", "0", "0"]])
def test_numbers_without_names_are_asked_about_and_read_by_the_names_given(tags):
    with pytest.raises(
        DataError, match=r"numbers without names \(0, 1, 2\)[\s\S]*data\.label_names=\[O,B-PER"
    ):
        load(tags)
    data = load(tags, label_names=NUMBERS)
    assert data.schema.names == tuple(NUMBERS)
    assert data.splits["train"][0]["labels"] == [1, 2, 0, 0]
    with pytest.raises(DataError, match="numbers up to 2, and 2 names are given"):
        load(tags, label_names=["O", "B-PER"])


@pytest.mark.parametrize(("tags", "settings"), [
    ([1, 2, -100, 0], {"label_names": NUMBERS}),
    ([1, 2, -1, 0], {"label_names": NUMBERS}),
    (["1", "2", "-100", "0"], {"label_names": NUMBERS}),
    (["B-PER", "I-PER", "-100", "O"], {}),
    (["B-PER", "I-PER", "X", "O"], {"ignore_tags": ["X"]}),
])  # fmt: skip
def test_words_that_do_not_count_are_no_label_and_in_no_metric(tags, settings):
    data = load(tags, **settings)
    assert set(data.schema.names) == set(NUMBERS)
    assert data.splits["train"][0]["labels"][2] == -100
    assert any("30 words have a tag that says they don't count" in warning for warning in data.warnings)
    weights = load(tags, class_weights="balanced", **settings).class_weights
    assert weights == (1.0, 1.0, 1.0)


def test_classes_of_words_may_not_count_either():
    features = Features({"words": List(Value("string")), "tags": List(ClassLabel(names=NUMBERS))})
    part = Dataset.from_list(rows([1, 2, -1, 0])).cast(features)
    data = load_text_data(part, text_column="words", label_column="tags")
    assert data.splits["train"][0]["labels"] == [1, 2, -100, 0]


def test_a_score_leaves_out_the_words_that_do_not_count():
    labels = np.array([[1, -100, 0], [-100, -100, -100]])
    logits = np.eye(3)[[[1, 2, 0], [0, 0, 0]]]
    scored = score(logits, labels, load([1, 2, 0, 0], label_names=NUMBERS).schema)
    assert scored == Scored([["B-PER", "O"], []], [["B-PER", "O"], []])


@pytest.mark.parametrize("trainer", ["hf", "native"])
@pytest.mark.often("native")
def test_a_run_with_a_batch_in_which_no_word_counts(trainer, tiny_overrides, tmp_path):
    import json

    some = rows([1, 2, 0, 0], 20) + rows([-100, -100, -100, -100], 20)
    (tmp_path / "tags.jsonl").write_text("\n".join(json.dumps(row) for row in some))
    words = [word for word in tiny_overrides if not word.startswith("data")]
    result = run(
        compose_config(
            "data=json",
            f"data.source.train={tmp_path / 'tags.jsonl'}",
            "data.text_column=words",
            "data.label_column=tags",
            "data.label_names=[O,B-PER,I-PER]",
            f"trainer={trainer}",
            *words,
            "trainer.per_device_train_batch_size=1",
            "trainer.max_steps=12",
            "trainer.eval_steps=12",
            "tokenizer.max_length=48",
        )
    )
    assert np.isfinite(result.metrics["test/loss"])


# Each way to write a span of n words, as prefixes.
SCHEMES = {
    "IOB2": lambda n, touches: ["B", *"I" * (n - 1)],
    "IOB1": lambda n, touches: ["B" if touches else "I", *"I" * (n - 1)],
    "BIOES": lambda n, touches: ["S"] if n == 1 else ["B", *"I" * (n - 2), "E"],
    "BILOU": lambda n, touches: ["U"] if n == 1 else ["B", *"I" * (n - 2), "L"],
    "BMEW": lambda n, touches: ["W"] if n == 1 else ["B", *"M" * (n - 2), "E"],
}
SPELLINGS = {
    "B-PER": lambda letter, type_: f"{letter}-{type_}",
    "B_PER": lambda letter, type_: f"{letter}_{type_}",
    "PER-B": lambda letter, type_: f"{type_}-{letter}",
    "b-per": lambda letter, type_: f"{letter.lower()}-{type_}",
}
PIECES = st.lists(st.tuples(st.sampled_from(["PER", "LOC", ""]), st.integers(1, 4)), max_size=6)


def written(pieces, scheme, spelling, outside) -> list[str]:
    tags, before = [], ""
    for type_, length in pieces:
        letters = SCHEMES[scheme](length, type_ == before)
        tags += [SPELLINGS[spelling](letter, type_) for letter in letters] if type_ else [outside] * length
        before = type_
    return tags


def every_tag(scheme, spelling, outside) -> tuple[str, ...]:
    letters = {
        letter for n in range(1, 5) for touches in (True, False) for letter in SCHEMES[scheme](n, touches)
    }
    return (
        *(SPELLINGS[spelling](letter, type_) for letter in sorted(letters) for type_ in ("PER", "LOC")),
        outside,
    )


@given(
    PIECES,
    PIECES,
    st.sampled_from([*SCHEMES]),
    st.sampled_from([*SPELLINGS]),
    st.sampled_from(["O", "o", "0"]),
)
def test_span_f1_is_the_same_however_the_scheme_is_spelled(truth, found, scheme, spelling, outside):
    sizes = [sum(length for _, length in pieces) for pieces in (truth, found)]
    truth, found = (
        [*pieces, ("", max(sizes) - size + 1)] for pieces, size in zip((truth, found), sizes, strict=True)
    )
    names = every_tag(scheme, spelling, outside)

    def metrics(names, *style):
        tags = Scored([written(found, *style)], [written(truth, *style)])
        schema = type("Schema", (), {"names": names, "problem_type": "token_classification"})
        return {
            k: v
            for k, v in compute_metrics(default_metrics("token_classification"), tags, schema).items()
            if k.startswith("span")
        }  # type: ignore[arg-type]

    assert metrics(names, scheme, spelling, outside) == metrics(IOB2, "IOB2", "B-PER", "O")


@pytest.mark.parametrize(
    ("names", "tags", "spans"),
    [
        (["PER", "LOC", "O"], "PER PER O LOC", [("PER", 0, 1), ("LOC", 3, 3)]),
        (["plan-B", "vitamin-B", "O"], "plan-B plan-B O", [("plan-B", 0, 1)]),
        (["E_COMMERCE", "S_CLASS", "O"], "E_COMMERCE E_COMMERCE", [("E_COMMERCE", 0, 1)]),
        (["B", "I", "O"], "B I B", [("_", 0, 1), ("_", 2, 2)]),
    ],
)
def test_names_that_only_look_like_a_scheme_are_names(names, tags, spans):
    assert list(find_spans(tags.split(), names)) == [Span(*span) for span in spans]
