"""The real MiniLM on the real BBC News: train, reproduce, replay."""

import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from omegaconf import OmegaConf

from commands import REPOSITORY, run_folder

QUICK = ("experiment=quick", "trainer.max_steps=4", "trainer.eval_steps=2", "tokenizer.max_length=16",
         "data.limit=200", "data.split.validation=0.02", "data.split.test=0.02")  # fmt: skip
CANARIES = {
    "WANDB_API_KEY": "c" * 8 + "0123456789abcdef0123456789abcdef",
    "HF_TOKEN": "hf_" + "canaryofthehub" * 2,
    "SECRET": "canary-of-the-environment",
    "WANDB_BASE_URL": "http://127.0.0.1:9",
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return what trains by a method, once, with secrets in the environment, and gives folder and output."""
    environment = {name: value for name, value in os.environ.items() if name != "WANDB_MODE"} | CANARIES

    @functools.cache
    def train(method):
        root = tmp_path_factory.mktemp(method)
        words = [*QUICK, f"peft={method}", "tracker.group=${oc.env:SECRET}"]
        command = [sys.executable, str(REPOSITORY / "train.py"), *words]
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return run_folder(root), done.stdout

    return train


def test_the_last_lines_say_what_came_out_and_what_to_do_next(trained):
    folder, output = trained("lora")
    assert re.search(r"validation +accuracy \d\.\d{4} ± 0\.\d+ at step [24] of 4", output)
    assert re.search(r"test +accuracy \d\.\d{4} ± 0\.\d+, f1_macro", output)
    assert re.search(r"probe +accuracy \d\.\d{4}, f1_macro .* \(a linear model on the frozen encoder", output)
    assert f"finesweep reproduce outputs/runs/quick/{folder.name}" in output
    assert "W&B offline (http://127.0.0.1:9 doesn't answer" in output
    assert "Warning" not in output


@pytest.mark.parametrize("method", ["lora", "none"])
@pytest.mark.often("lora")
def test_no_file_of_the_folder_holds_a_secret(trained, method):
    folder, output = trained(method)
    for name in ("WANDB_API_KEY", "HF_TOKEN", "SECRET"):
        secret = CANARIES[name].encode()
        holders = [str(f) for f in folder.rglob("*") if f.is_file() and secret in f.read_bytes()]
        assert not holders, (name, holders)
        assert CANARIES[name] not in output
    assert OmegaConf.load(folder / "config.yaml").tracker._get_node("group")._value() == "${oc.env:SECRET}"
    assert list(folder.glob("wandb/offline-run-*/*.wandb"))
    assert not list(folder.rglob("training_args.bin"))


@pytest.mark.parametrize("method", ["lora", "none"])
@pytest.mark.often("lora")
def test_reproduce_is_equal_to_the_last_bit(trained, method, call):
    folder, _ = trained(method)
    done = call("finesweep", "reproduce", str(folder), environment={"SECRET": "another"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Equal to the last bit: 7 lines of metrics, 1 file of weights." in done.stdout


@pytest.mark.campaign
def test_the_replay_uses_what_was_saved_not_today_s_defaults(trained, call, tmp_path):
    """Change the shipped defaults in a copy of the project, and replay a run from before."""
    import subprocess
    import sys

    from commands import REPOSITORY

    folder, _ = trained("lora")
    project = tmp_path / "project"
    for name in ("conf", "src", "sweeps", "train.py"):
        source = REPOSITORY / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, project / name)
    for file, old, new in (
        ("peft/lora.yaml", "r: 8", "r: 2"),
        ("trainer/hf.yaml", "per_device_train_batch_size: 16", "per_device_train_batch_size: 4"),
        ("train.yaml", "seed: 0", "seed: 9"),
    ):
        path = project / "conf" / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
    environment = {**os.environ, "PYTHONPATH": str(project / "src"), "SECRET": "x"}
    words = ["--config-path", str(folder), "--config-name", "config", f"output_dir={tmp_path / 'replayed'}"]
    command = [sys.executable, str(project / "train.py"), *words]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (replayed,) = (tmp_path / "replayed" / "runs" / "quick").iterdir()
    assert digest(replayed) == digest(folder)
    assert not (tmp_path / ".hydra").exists()


def digest(folder):
    return hashlib.sha256((folder / "adapter" / "adapter_model.safetensors").read_bytes()).hexdigest()


@pytest.mark.campaign
def test_changed_data_is_noticed_and_told_before_the_metrics(
    call, call_here, tmp_path, tiny_overrides, tiny_csv
):
    words = [word for word in tiny_overrides if not word.startswith("output_dir")]
    assert call_here("train.py", *words).returncode == 0
    folder = run_folder(tmp_path)
    shutil.move(str(folder), str(tmp_path / "kept"))
    tiny_csv.write_text(tiny_csv.read_text().replace("the cat", "a cat"))
    done = call("finesweep", "reproduce", str(tmp_path / "kept"))
    assert done.returncode == 1
    assert done.stdout.index("fingerprints.data") < done.stdout.index("metrics differ")
    assert "Saved weights differ" in done.stdout


def test_a_run_that_is_not_complete_is_not_reproduced(call, tmp_path, trained):
    copy = shutil.copytree(trained("lora")[0], tmp_path / "copy", symlinks=True)
    status = json.loads((copy / "status.json").read_text())
    (copy / "status.json").write_text(json.dumps({**status, "state": "interrupted"}))
    done = call("finesweep", "reproduce", str(copy))
    assert done.returncode == 1
    assert "this one is interrupted" in done.stderr
    done = call("finesweep", "reproduce", str(tmp_path))
    assert "holds the config.yaml" in done.stderr


@pytest.mark.parametrize(
    ("key", "value", "name"),
    [
        ("tracker._target_", "os.system", "os.system"),
        ("data.source._target_", "shutil.copy", "shutil.copy"),
        ("model._target_", "torch.hub.load", "torch.hub.load"),
        ("tokenizer.trust_remote_code", True, "trust_remote_code"),
        ("trainer.push_to_hub", True, "push_to_hub"),
    ],
)
@pytest.mark.often(every=3)
def test_a_stranger_s_config_calls_only_what_finesweep_s_own_do(
    trained, call_here, tmp_path, key, value, name
):
    copy = shutil.copytree(trained("lora")[0], tmp_path / "copy", symlinks=True)
    config = OmegaConf.load(copy / "config.yaml")
    OmegaConf.update(config, key, value, force_add=True)
    if name == "trust_remote_code":
        config.tokenizer._target_ = "transformers.AutoTokenizer.from_pretrained"
    OmegaConf.save(config, copy / "config.yaml")
    (copy / "files.json").unlink()  # which would tell
    for command in (
        ("finesweep", "reproduce", str(copy)),
        ("train.py", "--config-path", str(copy), "--config-name", "config"),
    ):
        done = call_here(*command, environment={"SECRET": "x"})
        assert done.returncode == 2
        assert f"--trust {name}" in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("way", ["callbacks", "searchpath", "defaults"])
@pytest.mark.often("callbacks")
def test_a_stranger_s_config_can_t_steer_hydra(trained, call, tmp_path, way):
    """Hydra's callbacks are called before the job, and so before the job's own checks."""
    copy = shutil.copytree(trained("lora")[0], tmp_path / "copy", symlinks=True)
    config = OmegaConf.load(copy / "config.yaml")
    evil = {"callbacks": {"evil": {"_target_": "os.system", "command": f"touch {tmp_path}/ran"}}}
    if way == "defaults":
        (copy / "evil.yaml").write_text("# @package hydra\n" + OmegaConf.to_yaml(OmegaConf.create(evil)))
        config.defaults.append("evil")
    else:
        OmegaConf.update(
            config, "hydra", evil if way == "callbacks" else {"searchpath": ["file:///tmp"]}, force_add=True
        )
    OmegaConf.save(config, copy / "config.yaml")
    done = call(
        "train.py", "--config-path", str(copy), "--config-name", "config", environment={"SECRET": "x"}
    )
    assert done.returncode == 2
    assert "--trust hydra" in done.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.campaign
def test_trust_lets_a_named_target_through(trained, call, tmp_path):
    copy = shutil.copytree(trained("lora")[0], tmp_path / "copy", symlinks=True)
    config = OmegaConf.load(copy / "config.yaml")
    (tmp_path / "mine.py").write_text("from finesweep.data.sources import text_folders as read\n")
    config.data.source._target_ = "mine.read"
    OmegaConf.save(config, copy / "config.yaml")
    environment = {"SECRET": "x", "PYTHONPATH": str(tmp_path)}
    done = call("finesweep", "reproduce", str(copy), "--trust", "mine.read", environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
