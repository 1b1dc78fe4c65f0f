"""docs/extend.md: its code and its commands, as they stand there."""

import re
import shlex
import sys
from pathlib import Path

import finesweep

PAGE = (Path(__file__).parents[1] / "docs" / "extend.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_code_works_with_each_of_the_commands(tmp_path, monkeypatch, tiny_overrides):
    """All of them at once, since each is a part of its own."""
    (code, _), (commands, _) = blocks("python"), blocks("bash")
    words = [word for line in commands.replace("\\\n", " ").splitlines() for word in shlex.split(line)[2:]]
    (tmp_path / "mine.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)  # another test's folder of this name
    tiny = [word for word in tiny_overrides if not word.startswith("data")]
    result = finesweep.run([*tiny, *words, "trainer=native", "trainer.learning_rate=0.5"])
    assert result.config["trainer"]["optimizer"]["_target_"] == "mine.optimizer"
    assert result.state == "complete"


def test_the_plain_module_works_with_its_commands(tmp_path, monkeypatch, tiny_overrides):
    (_, code), (_, commands) = blocks("python"), blocks("bash")
    (tmp_path / "plain.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "plain", raising=False)
    whole, adapted = (
        finesweep.run([*tiny_overrides, *shlex.split(line)[2:]]) for line in commands.splitlines()
    )
    assert whole.config["model"]["width"] == 32
    assert (whole.state, adapted.state) == ("complete", "complete")


def test_every_page_stands_in_the_index():
    docs = Path(__file__).parents[1] / "docs"
    index = (docs / "README.md").read_text(encoding="utf-8")
    assert {page.name for page in docs.glob("*.md")} - {"README.md"} == set(
        re.findall(r"\]\((\w+\.md)\)", index)
    )
