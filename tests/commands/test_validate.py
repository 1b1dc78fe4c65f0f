"""`finesweep validate`: what a run would be, or every reason why it wouldn't start."""

import json
import re

import pytest

from composing import compose_config
from finesweep.commands.validate import validate
from finesweep.config.check import check
from finesweep.errors import ConfigError
from finesweep.runs.preparation import prepare
from finesweep.system.console import logging_to_console


def test_it_says_what_a_run_would_train_and_writes_nothing(tiny_overrides, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    validate(tiny_overrides)
    said = capsys.readouterr().out
    assert "data       48 train, 6 validation, 6 test; 3 labels" in said
    assert "adapter    trains " in said
    assert "memory     about " in said
    assert "packed     16 trials at a time, as a sweep trains on a GPU: about " in " ".join(said.split("\n"))
    assert re.match("A run would start: .*finesweep train data=csv ", said.splitlines()[-1])
    assert sorted(tmp_path.rglob("*")) == before


def test_json_has_the_facts_and_nothing_else_on_stdout(tiny_overrides, capsys):
    validate([*tiny_overrides, "peft.r=4"], as_json=True)
    facts = json.loads(capsys.readouterr().out)
    assert facts["starts"]
    assert facts["labels"] == ["animals", "colours", "numbers"]
    assert facts["rows"] == {"train": 48, "validation": 6, "test": 6}
    assert any(name.endswith("query") and count == 2 for name, count in facts["matched"].items())
    assert 0 < facts["trainable"] < facts["total"]
    assert facts["memory_bytes"] < facts["packed_memory_bytes"] < 16 * facts["memory_bytes"]
    validate([*tiny_overrides, "peft=dora"], as_json=True)
    assert json.loads(capsys.readouterr().out)["packed_memory_bytes"] is None


def test_many_cut_texts_are_a_warning_in_every_form(tiny_overrides, capsys):
    words = [*tiny_overrides, "tokenizer.max_length=3"]
    validate(words, as_json=True)
    warned = json.loads(capsys.readouterr().out)["warnings"]
    assert [warning.partition(" at 3 tokens; ")[0] for warning in warned] == ["100% of the texts are cut"]
    with logging_to_console(quiet=True):
        prepare(check(compose_config(*words)))
    assert capsys.readouterr().out.startswith(f"tokenizer  {warned[0]}")


@pytest.mark.parametrize(
    ("word", "error", "message"),
    [
        ("peft.target_modules=nothing", ConfigError, "matches no module"),
        ("data.text_column=txt", ConfigError, "txt"),
        ("trainer.fp16=true", ConfigError, "fp16"),
        ("trainer.early_stopping_patience=0", ConfigError, "1 or more"),
        ("-m", ConfigError, "asks for many"),
    ],
)
@pytest.mark.often(every=3)
def test_what_would_stop_a_run_stops_it(tiny_overrides, capsys, word, error, message):
    with pytest.raises(error, match=message):
        validate([*tiny_overrides, word], as_json=True)
    refusal = json.loads(capsys.readouterr().out)
    assert not refusal["starts"]
    assert refusal["faults"]


def test_label_smoothing_of_rows_with_several_labels_is_refused_as_a_run_refuses_it(
    tiny_overrides, tmp_path, capsys
):
    rows = [{"text": f"row {i} of some", "label": [["a"], ["a", "b"], []][i % 3]} for i in range(60)]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    words = [word for word in tiny_overrides if not word.startswith("data")]
    words += ["data=json", f"data.source.train={file}", "trainer.label_smoothing_factor=0.1"]
    with pytest.raises(ConfigError, match="classes of which each row has one"):
        validate(words)
    assert "would start" not in capsys.readouterr().out
