"""A table of mistakes, each with its exit code and the words that name it; never a traceback."""

import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from finesweep.commands.listing import clean
from finesweep.commands.reporting import reported_errors
from finesweep.commands.train import train
from finesweep.config.compose import compose
from finesweep.errors import FinesweepError

FILES = {
    "rows.csv": "text,label\na,x\nb,y\n",
    "mine/experiment/bracket.yaml": "trainer:\n  learning_rate: [1\n  x: 2\n",
    "mine/experiment/listed.yaml": "- a\n",
    "mine/peft/listed.yaml": "- a\n",
    "mine/peft/words.yaml": "just words\n",
    "mine/experiment/tab.yaml": "trainer:\n\tlr: 2\n",
    "mine/experiment/twice.yaml": "a: 1\na: 2\n",
    "mine/experiment/unresolved.yaml": "# @package _global_\nseed: ${nowhere}\n",
    "mine/experiment/unread.yaml": "# @package _global_\ntrainerr:\n  learning_rate: 1\n",
    "broken.py": "def rows():\n    return helper()\n\n\ndef helper():\n    return {}['missing']\n",
    "fails.py": "import json\n\njson.loads('[')\n",
}
OWN_ROWS = ("data=python", "data.source.function=broken.py:rows")
# What is typed, the exit code, and what the message has.
CONFIG = [
    ("peft.rr=4", 2, "Did you mean `r`?"),
    ("model=minlm", 2, "Did you mean `minilm`?"),
    ("model=null", 2, "A group is not switched off with null."),
    ("trainer.lr=1", 2, "no argument `lr`"),
    ("+trainer.output_dir=x", 2, "trainer.output_dir"),
    ("trainer.eval_strategy=no", 2, "can't be switched off"),
    ("trainer.lr_scheduler_type=linar", 2, "Did you mean `linear`?"),
    ("trainer.lr_scheduler_type=cosine_with_min_lr", 2, "It needs min_lr or min_lr_rate"),
    ("+trainer.optim=galore_adamw", 2, "It needs the package galore_torch"),
    ("objective.metric=acuracy", 2, "Did you mean `accuracy`?"),
    ("objective.direction=up", 2, "It must be minimize or maximize."),
    ("objective.metric=log_loss", 2, "Of objective.metric=log_loss, lower is better."),
    ("data.metrics=accuracy", 2, "Put it into brackets"),
    ("data.metrics=[accracy]", 2, "Did you mean `accuracy`?"),
    ("data.split.test=2", 2, "data.split.test"),
    ("data=csv", 2, "A value is required."),
    ("data=csv data.source.train=row.csv", 2, "Did you mean `rows.csv`?"),
    ("data=csv data.source.train='~no-such-user/rows.csv'", 2, "no such user, or no HOME"),
    ("data=csv data.source.train=~/rows.csv", 2, "'data.source.train=\"~/rows.csv\"'"),
    ("data=csv data.source.train=zeilen-ü.csv", 2, "'data.source.train=\"zeilen-ü.csv\"'"),
    ("data=csv data.source.train=rows.csv data.text_column=txt", 2, "Did you mean `text`?"),
    ("data=csv data.source.train=rows.csv data.label_column=[label,other]", 2, "data.label_column = other"),
    ("tracker.mode=onlin", 2, "Did you mean `online`?"),
    ("resume=always", 2, "It is strict or auto."),
    ("model._target_=finesweep.models.load_clasifier", 2, "Did you mean `load_classifier`?"),
    ("model._target_=no_such_package.build", 2, "There is no Python package `no_such_package`."),
    ("seed=${nowhere}", 2, "can't be resolved"),
    ("key with spaces=1", 2, "can't be read as key=value"),
    ("output_dir=rows.csv", 2, "rows.csv is no folder"),
    ("--config-dir mine experiment=bracket", 2, "bracket.yaml, line 3"),
    ("--config-dir mine experiment=tab", 2, "YAML takes no tabs"),
    ("--config-dir mine experiment=twice", 2, "found duplicate key a"),
    ("--config-dir mine experiment=unresolved", 2, "seed = ${nowhere}"),
    ("--config-dir mine experiment=unread", 2, "Did you mean `trainer`?"),
    ("--config-dir mine experiment=listed", 2, "Its choice is a list"),
    ("--config-dir mine peft=listed", 2, "Mend the choice's file: peft/listed.yaml"),
    ("--config-dir mine peft=words", 2, "Its choice has no _target_"),
    ("-m", 2, "asks for many"),
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Work in a folder with some files, and fail with the exit code and the message of a mistake."""
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def nobody(here):
    """Become a user who may read and write nothing but what is granted."""
    if os.geteuid():
        pytest.skip("another user's eyes need root")
    places = [Path(name).resolve() for name in (__file__, sys.prefix)]
    closed = [place for one in places for place in one.parents if not place.stat().st_mode & 0o001]
    if closed:
        pytest.skip(f"another user can't read this clone: {closed[0]} is closed to others")
    depth = len(here.relative_to(Path(tempfile.gettempdir()).resolve()).parts)
    for folder in (here, *here.parents[: depth - 1]):
        folder.chmod(0o755)
    yield here
    os.seteuid(0)


def message_of(call, capsys) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended, reported_errors():
        call()
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "to mend:" in said
    return ended.value.code, said


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("line", "code", "expected"), CONFIG)
@pytest.mark.often(every=2)
def test_a_config_that_can_t_be_run_is_refused_with_its_mistake(line, code, expected, capsys):
    words = [line] if " " in line.partition("=")[0] and not line.startswith("--") else line.split()

    def call():
        with compose(words).checked():
            raise AssertionError("it passed")

    found, said = message_of(call, capsys)
    assert (found, expected in said) == (code, True), said


@pytest.mark.parametrize(("file", "frames"), [("broken.py:rows", 2), ("fails.py:rows", 1)])
def test_code_of_one_s_own_that_raises_is_shown_with_its_own_frames(file, frames, here, capsys):
    words = ["data=python", f"data.source.function={file}", "tracker=none"]
    code, said = message_of(lambda: train(words), capsys)
    assert code == 1
    assert "It raised " in said
    assert said.count("File ") == said.count(str(here)) - said.count("function = /") == frames


def test_a_model_whose_forward_takes_no_token_ids_is_refused_in_words(here, tiny_overrides, capsys):
    build = "def build(schema, **settings):\n    return torch.nn.Linear(3, len(schema.names))\n"
    (here / "bare_model.py").write_text(f"import torch\n\n\n{build}")
    code, said = message_of(lambda: train([*tiny_overrides, "model._target_=bare_model.build"]), capsys)
    assert code == 2
    assert "this is a Linear" in said


def test_a_file_that_may_not_be_read_is_named(nobody, capsys):
    (nobody / "rows.csv").chmod(0)
    os.seteuid(65534)
    words = ["data=csv", "data.source.train=rows.csv"]
    code, said = message_of(lambda: compose(words).checked().__enter__(), capsys)
    assert code == 2
    assert "You may not read it." in said


def refused(words, capsys):
    """Call train.py twice: first as root, with a mistake, so that whatever it needs is imported."""
    with pytest.raises(SystemExit):
        train([*words, "output_dir=rows.csv", "resume=never"])
    capsys.readouterr()
    os.seteuid(65534)
    return message_of(lambda: train(words), capsys)


def test_a_file_in_a_folder_that_may_not_be_entered_is_named(nobody, capsys):
    (nobody / "closed").mkdir(mode=0)
    for name in ("closed/rows.csv", '"closed/*.csv"'):
        os.seteuid(0)
        words = [
            "data=csv",
            f"data.source.train={name}",
            "tracker=none",
            f"output_dir={tempfile.gettempdir()}",
        ]
        code, said = refused(words, capsys)
        assert (code, f"You may not look into {nobody / 'closed'}." in said) == (2, True), said
        assert f"chmod u+rx {nobody / 'closed'}" in said


@pytest.mark.parametrize(
    ("closed", "words"),
    [
        ("model", "You may not read it."),
        ("model/model.safetensors", "You may not read its model.safetensors."),
    ],
)
def test_a_model_that_may_not_be_read_is_named(closed, words, nobody, capsys):
    (nobody / "model").mkdir()
    for name in ("config.json", "model.safetensors"):
        (nobody / "model" / name).touch()
    (nobody / closed).chmod(0)
    os.seteuid(65534)
    code, said = message_of(lambda: compose([f"model.name={nobody}/model"]).checked().__enter__(), capsys)
    assert (code, words in said) == (2, True), said
    assert f"{nobody / closed}\n" in said


def test_a_run_s_own_place_is_asked_for_before_anything_is_read(nobody, capsys):
    (nobody / "out" / "runs").mkdir(parents=True)
    (nobody / "out").chmod(0o777)
    words = ["data=csv", "data.source.train=rows.csv", "tracker=none", "name=mine"]
    code, said = refused([*words, f"output_dir={nobody}/out"], capsys)
    assert code == 1
    assert f"{nobody / 'out' / 'runs'} can't be written into." in said


def test_a_name_that_python_took_for_ascii_is_told(capsys):
    code, said = message_of(lambda: train(["data.source.train=zeilen-\udcc3\udcbc.csv"]), capsys)
    assert code == 2
    assert "export PYTHONUTF8=1" in said


def test_a_place_that_may_not_be_written_is_named(nobody, capsys):
    sweep = ["-m", "peft.r=2,4", "tracker=none"]
    with pytest.raises(SystemExit):  # which imports what it needs: Python may be closed to another user
        train([*sweep, f"hydra.sweeper.folder={nobody}/rows.csv/sweep"])
    capsys.readouterr()
    os.seteuid(65534)
    code, said = message_of(lambda: compose([f"output_dir={nobody}/out"]).checked().__enter__(), capsys)
    assert code == 2
    assert "can't be written into" in said
    with pytest.raises(SystemExit) as ended:
        train([*sweep, f"hydra.sweeper.folder={nobody}/sweep"])
    said = capsys.readouterr().err
    assert ended.value.code in (1, 2)
    assert "Traceback" not in said
    assert str(nobody) in said


def test_what_may_not_be_removed_is_named(nobody, capsys):
    run = nobody / "run"
    (run / "checkpoints" / "checkpoint-1").mkdir(parents=True)
    (run / "status.json").write_text('{"state": "complete"}')
    (run / "config.yaml").write_text("seed: 0\n")
    os.seteuid(65534)
    with pytest.raises(FinesweepError, match="It can't be removed"):
        clean(nobody, ask=None)


def test_a_python_without_finesweep_and_an_old_one_are_told(monkeypatch):
    script = str(Path(__file__).parents[2] / "train.py")
    done = subprocess.run([sys.executable, "-S", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert "isn't installed for" in done.stderr
    assert "make train" in done.stderr
    monkeypatch.setattr(sys, "version_info", (3, 9, 0, "final", 0))
    with pytest.raises(SystemExit, match=r"needs Python 3\.11 or newer"):
        runpy.run_path(script)
