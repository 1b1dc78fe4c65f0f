"""What a stranger's weights and states can't do: they are read as numbers, or refused in words."""

from __future__ import annotations

import json
import os
import shutil

import pytest
import torch
from typer.testing import CliRunner

from finesweep.commands.cli import app
from finesweep.commands.resume import resume
from finesweep.errors import FinesweepError
from finesweep.training import checkpoints

pytestmark = pytest.mark.usefixtures("few_resamples")
MARK = "ran"


class Evil:
    """What unpickles into a call."""

    def __reduce__(self):
        return os.mkdir, (MARK,)


def _pickled_adapter(folder):
    (folder / "adapter" / "adapter_model.safetensors").unlink()
    torch.save({"weight": Evil()}, folder / "adapter" / "adapter_model.bin")


def _pickled_backbone(folder):
    for file in (folder / "backbone").glob("*.safetensors"):
        file.unlink()
    torch.save({"weight": Evil()}, folder / "backbone" / "pytorch_model.bin")


def _code(place, file, **changes):
    (place / "evil.py").write_text(f"import os\nos.mkdir({MARK!r})\nclass Evil: pass\n")
    content = json.loads((place / file).read_text())
    (place / file).write_text(json.dumps({**content, **changes}))


def _code_of_a_model(folder):
    names = ("AutoConfig", "AutoModelForSequenceClassification")
    _code(folder / "backbone", "config.json", model_type="evil", auto_map=dict.fromkeys(names, "evil.Evil"))


def _code_of_a_known_model(folder):
    names = ("AutoConfig", "AutoModelForSequenceClassification")
    _code(folder / "backbone", "config.json", auto_map=dict.fromkeys(names, "evil.Evil"))


def _code_of_a_tokenizer(folder):
    changes = {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}}
    _code(folder / "tokenizer", "tokenizer_config.json", **changes)


def _kernels(folder):
    _code(
        folder / "backbone", "config.json", attn_implementation="evil/kernels", _attn_implementation="evil/x"
    )


def _mapping_of_an_adapter(folder):
    mapping = {"base_model_class": "Evil", "parent_library": "evil"}
    _code(folder / "adapter", "adapter_config.json", auto_mapping=mapping)


PAYLOADS = {
    "pickled adapter": _pickled_adapter,
    "pickled backbone": _pickled_backbone,
    "a model's code": _code_of_a_model,
    "a known model's code": _code_of_a_known_model,
    "a tokenizer's code": _code_of_a_tokenizer,
    "kernels": _kernels,
    "an adapter's mapping": _mapping_of_an_adapter,
}
COMMANDS = {
    "predict": ("predict", "{}", "--text", "a text"),
    "evaluate": ("evaluate", "{}", "rows.csv"),
    "export": ("export", "{}", "out", "--to", "merged"),
}
STATES = [("hf", name) for name in ("trainer.pt", "optimizer.pt", "scheduler.pt", "rng_state.pth")]
STATES += [("hf", "adapter_model.bin"), ("native", "trainer.pt"), ("native", "adapter_model.bin")]
HARMLESS = ("a known model's code", "an adapter's mapping")


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.often("predict-*")
def test_weights_are_read_as_numbers(command, payload, received, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "rows.csv").write_text("text,label\n" + "the cat number 1 is horse,animals\n" * 3)
    PAYLOADS[payload](received)
    done = CliRunner().invoke(app, [word.format(received) for word in COMMANDS[command]])
    assert not os.path.exists(MARK)
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    assert done.exit_code == 0 if payload in HARMLESS else "to mend:" in done.stderr, done.output


@pytest.mark.parametrize(("trainer", "name"), STATES)
@pytest.mark.often("*-trainer.pt", "hf-adapter_model.bin")
def test_a_checkpoint_s_states_are_read_as_numbers(trainer, name, cut_off, capsys):
    folder = cut_off(trainer)
    [checkpoint] = checkpoints.all_checkpoints(folder / "checkpoints")
    if name == "adapter_model.bin":
        (checkpoint / "adapter_model.safetensors").unlink()
    torch.save({"optimizer": Evil()}, checkpoint / name)
    checkpoints.seal(checkpoint)
    with pytest.raises((FinesweepError, SystemExit)):
        resume(folder)
    assert not os.path.exists(MARK)


@pytest.fixture
def cut_off(tiny_overrides, tmp_path, monkeypatch):
    """Return what makes a run that was cut off after its first checkpoint, by another user."""
    from composing import compose_config
    from finesweep.runs.run import run

    def make(trainer):
        words = [*tiny_overrides, f"trainer={trainer}", "trainer.max_steps=2", "trainer.eval_steps=1"]
        folder = run(compose_config(*words), overrides=words, quiet=True).folder
        for checkpoint in checkpoints.all_checkpoints(folder / "checkpoints")[1:]:
            shutil.rmtree(checkpoint)
        status = json.loads((folder / "status.json").read_text())
        (folder / "status.json").write_text(json.dumps({**status, "state": "interrupted"}))
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "receiver"))
        monkeypatch.chdir(tmp_path)
        return folder

    return make
