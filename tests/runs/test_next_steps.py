"""The commands that a run ends with."""

import shlex
import sys
from pathlib import Path

import pytest

from finesweep.config.origin import Origin
from finesweep.runs.layout import RunFolder
from finesweep.runs.next_steps import next_steps
from finesweep.system.console import show_summary
from finesweep.system.programs import train_words


@pytest.fixture
def steps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    (tmp_path / "a run").mkdir()

    def call(origin=None, **config):
        found = next_steps(RunFolder(tmp_path / "a run"), {"seed": 0, **config}, origin or Origin())
        return {purpose: shlex.split(command) for purpose, command in found.items()}

    return call


def test_the_search_has_the_words_of_the_run(steps, tmp_path):
    words = ("data=csv", "data.source.train=my rows.csv")
    origin = Origin({"sweeps": "lora"}, words, options=("--config-dir", str(tmp_path)))
    assert steps(origin)["search"][-5:] == ["-m", "--config-dir", str(tmp_path), *words]


@pytest.mark.parametrize("choices", [{}, {"sweeps": "nothing-there"}])
def test_a_method_without_a_space_and_a_saved_config_have_no_search(steps, choices):
    assert list(steps(Origin(choices))) == ["repeat it", "vary it"]


def test_a_target_of_one_s_own_is_vouched_for_in_each_command(steps):
    found = steps(model={"_target_": "mine.build", "name": "x"}, data={"source": {"function": "mine.rows"}})
    for words in found.values():
        assert words[-4:] == ["--trust", "function", "--trust", "mine.build"]
    assert "--trust" not in steps(peft={"_target_": "peft.LoraConfig"})["repeat it"]


def test_the_next_run_has_another_seed(steps):
    assert "seed=8" in steps(seed=7)["vary it"]


def test_a_program_that_no_shell_would_find_is_named_with_its_place(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    assert train_words() == ["python", "train.py"]
    monkeypatch.setenv("PATH", "/nowhere")
    assert Path(train_words()[0]).absolute() == Path(sys.executable).with_name("python")


def test_a_command_stands_on_one_line_outside_the_box(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    command = f"finesweep reproduce outputs/{'long-name/' * 12}"
    show_summary("a run", {"validation": "accuracy 0.9"}, {"repeat it": command})
    assert capsys.readouterr().out.splitlines()[-1] == f"repeat it  {command}"
