"""`finesweep methods`: the table, one model's part of it, and what is refused because of it."""

import json

import peft
import pytest
from typer.testing import CliRunner

from finesweep.commands.cli import app
from finesweep.commands.methods import family_of, methods
from finesweep.data import LabelSchema
from finesweep.data.labels import TOKENS
from finesweep.errors import ConfigError
from finesweep.models.adapters import attach
from finesweep.models.capabilities import working
from finesweep.models.loading import load_classifier
from finesweep.system.places import config_folder
from tiny import make_model


def call(*words: str):
    return CliRunner().invoke(app, ["methods", *words])


def test_every_family_is_a_column_of_the_table():
    done = call()
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    lora = next(line for line in lines if line.startswith("lora "))
    assert lora.split()[1:] == ["+"] * 11


def test_one_model_s_methods_come_with_their_papers():
    lines = call("--model", "minilm").stdout.splitlines()
    assert any(line.startswith("+  dora ") and "arXiv:2402.09353" in line for line in lines)
    assert any(line.startswith("x  prompt-tuning ") for line in lines)


def test_json_is_for_machines():
    content = json.loads(call("--json", "--model", "roberta").stdout)
    assert "train" in content["methods"]["lora"]["families"]["roberta"]


def test_an_unknown_model_is_refused_with_the_nearest_name():
    done = call("--model", "robert")
    assert done.exit_code == 2
    assert "Did you mean `roberta`" in done.output


@pytest.mark.parametrize("choice", sorted(file.stem for file in (config_folder() / "model").glob("*.yaml")))
def test_every_shipped_model_has_a_table_without_the_hub(choice, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    done = call("--model", choice)
    if choice == "local":
        assert done.exit_code == 2
        assert "Name the folder: --model FOLDER." in done.output
        return
    assert done.exit_code == 0, done.output
    assert any(line.startswith("+  lora ") for line in done.stdout.splitlines())


def test_a_folder_without_a_config_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"config\.json isn't on this machine"):
        family_of(str(tmp_path))


def test_a_folder_s_family_is_read_from_its_config(tmp_path):
    assert family_of(str(make_model(tmp_path, "mpnet"))) == "mpnet"


def test_every_method_says_what_it_is():
    assert all(len(method.summary) > 20 for method in methods())


@pytest.mark.parametrize(
    ("family", "method", "tokens", "message"),
    [
        (
            "distilbert",
            peft.PrefixTuningConfig(num_virtual_tokens=2),
            False,
            "does not train on a distilbert",
        ),
        ("bert", peft.PromptTuningConfig(num_virtual_tokens=2), True, "can't label tokens"),
    ],
)
def test_a_pair_that_doesn_t_work_is_refused_with_those_that_do(tmp_path, family, method, tokens, message):
    task = {"problem_type": TOKENS} if tokens else {}
    schema = LabelSchema(("O", "B-x"), ("O", "B-x"), **task)
    classifier = load_classifier(name=str(make_model(tmp_path, family)), schema=schema)
    with pytest.raises(ConfigError, match=rf"{message}[\s\S]*lora"):
        attach(classifier, method)


def test_what_works_is_listed_by_what_is_needed():
    assert "prompt-tuning" in working("bert")
    assert "prompt-tuning" not in working("bert", ("train", "reload", "tokens"))
