"""The words of a command line: one grammar, Hydra's, and one way to take their texts apart."""

import ast
from pathlib import Path

import pytest
from hydra.errors import HydraException

from finesweep.system.override_words import key_of, parts_of, read_word, read_words

SOURCE = Path(__file__).parents[2] / "src"


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("peft.r=4", ("peft.r", "4")),
        ("++data.query=a=b", ("data.query", "a=b")),
        ("~tracker", ("tracker", "")),
        ("seed='1", ("seed", "'1")),  # which Hydra can't read
    ],
)
def test_a_word_has_a_key_and_a_text(word: str, parts: tuple[str, str]):
    assert parts_of(word) == parts
    assert key_of(word) == parts[0]


def test_values_are_what_hydra_makes_of_them():
    assert read_word("x={a: [1, b]}").value() == {"a": [1, "b"]}
    assert [word.is_sweep_override() for word in read_words(["x=1", "y=1,2"])] == [False, True]
    with pytest.raises(HydraException):
        read_word("seed='1")


def test_nobody_else_reads_them():
    readers = {
        file.name
        for file in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").endswith("overrides_parser")
    }
    assert readers == {"override_words.py"}
