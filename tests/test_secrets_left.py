"""Canaries typed, in the environment, in addresses, in the working tree: none is in a file that was left."""

from __future__ import annotations

import json
import subprocess
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from composing import compose_config
from finesweep.config.saved import read_config
from finesweep.errors import ConfigError
from finesweep.runs.reproduce import reproduce
from finesweep.runs.run import run

TYPED = {
    "+trainer.hub_token": "canary typed \"with\" 'quotes' & a\nsecond-canary-line",
    "+mine.my_pass": "c9!x",
    "+mine.credentials.deep": ["canary-in-a-list"],
    "+mine.apiKey": "*canary-alias",
    "+mine.password": 73510042,
}
HIDDEN = {
    "+mine.url": "https://me:canary-of-a-user@example.org/a.csv?token=canary-of-a-query&sig=cn%2Bsigned",
    "+mine.dsn": "host=db user=me password=canary-of-a-dsn",
    "+mine.note": "written for canary-of-the-environment, as one does",
    "tracker.wandb.group": "${oc.env:MY_PASS}",
    "tracker.tensorboard.group": "run-${oc.env:MY_PASS}",
    "tracker.wandb.tags": ["plain", "${oc.env:STUDY_TOKEN}"],
}
ENVIRONMENT = {
    "STUDY_TOKEN": "canary-of-the-environment",
    "MY_PASS": "q7-w",
    "DATASET_KEY": "bbc-news",
    "MONKEY": "canary-that-sings",
    "KEYBOARD_LAYOUT": "de-latin1-nodeadkeys",
    "TOKENIZERS_PARALLELISM": "false",
}
TREE = {
    "train.py": 'client = Client("cnRy0123canary4567abcd", retries=2)\nlogin(token="canary-in-code")\n',
    ".env": "HUB_TOKEN=canary-in-dotenv\nEPOCHS=3\n",
    "keys.yaml": "password: canary in yaml\nmax_tokens: 512\n",
}
CANARIES = [
    "canary typed", "second-canary-line", "c9!x", "canary-in-a-list", "canary-alias", "73510042",
    "canary-of-a", "cn%2Bsigned", "canary-of-the-environment", "q7-w", "cnRy0123", "canary-in-",
    "canary in yaml",
]  # fmt: skip


@pytest.fixture
def left(tmp_path, tiny_overrides, monkeypatch):
    """Return the folder of a run whose config, environment and working tree are full of canaries."""
    here = tmp_path / "tree"
    here.mkdir()
    monkeypatch.chdir(here)
    for name, value in {**ENVIRONMENT, "TOKENIZER_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    make_dirty(here)
    several = "tracker=[wandb,tensorboard]"
    words = [word for word in tiny_overrides if not word.startswith("tracker")]
    config = compose_config(*words, several)
    added = {key.lstrip("+"): value for key, value in {**TYPED, **HIDDEN}.items()}
    for key, value in added.items():
        OmegaConf.update(config, key, value, force_add=True)
    typed = [f"{key}={json.dumps(value)}" for key, value in {**TYPED, **HIDDEN}.items()]
    return run(config, overrides=[*words, several, *typed])


def make_dirty(folder: Path) -> None:
    """Make a repository with changes that hold secrets, not committed."""
    for name in TREE:
        (folder / name).write_text("before = 1\n")
    git = ("git", "-c", "user.name=me", "-c", "user.email=me@example.org")
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "before")):
        subprocess.run([*git, *words], cwd=folder, check=True)
    for name, text in TREE.items():
        (folder / name).write_text(text)


def readings(content: bytes) -> list[bytes]:
    """Return a file's content as it is, and what is compressed in it."""
    found, rest = [content], content
    while (start := rest.find(b"\x78\x9c")) >= 0:
        with suppress(zlib.error):  # two bytes that only look like a beginning
            found.append(zlib.decompressobj().decompress(rest[start:]))
        rest = rest[start + 2 :]
    return found


def test_no_file_of_a_run_holds_a_canary_and_what_is_no_secret_stays(left, tmp_path, monkeypatch):
    holders = {
        (str(file.relative_to(tmp_path)), canary)
        for file in (tmp_path / "outputs").rglob("*")
        if file.is_file()
        for reading in readings(file.read_bytes())
        for canary in CANARIES
        if canary.encode() in reading
    }
    assert holders == set()
    saved = read_config(left.folder / "config.yaml")
    mine = saved["mine"]
    assert (saved["trainer"]["hub_token"], mine["my_pass"], mine["apiKey"]) == ("***", "***", "***")
    assert mine["url"] == "https://me:***@example.org/a.csv?token=***&sig=***"
    assert mine["dsn"] == "host=db user=me password=***"
    assert mine["note"] == "written for ***, as one does"
    assert saved["tracker"]["wandb"]["group"] == "${oc.env:MY_PASS}"
    assert saved["model"]["name"].startswith("/")
    assert OmegaConf.load(left.folder / "overrides.yaml")[0] == "data=csv"
    diff = json.loads((left.folder / "provenance.json").read_text())["git"]["diff"]
    for kept in ('Client("***", retries=2)', "HUB_TOKEN=***", "EPOCHS=3", "max_tokens: 512"):
        assert kept in diff
    with pytest.raises(ConfigError) as refusal:
        reproduce(left.folder, trusted=["url"])
    assert "trainer.hub_token was masked when this run was saved" in str(refusal.value)
    assert "Give it again: trainer.hub_token=..." in str(refusal.value)
